// Faults of site.test.ts in which everything answers, but slowly, not alike, or not for much longer.
import { appendFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { newClusterUid } from "@claviger/gateway-core/src/registry/edit/uid.ts";
import { createNodeCertificates } from "../../bench/fleet/certificates.ts";
import { type OpenFlood, openFlood } from "../../bench/fleet/flood.ts";
import { createCpuCgroup } from "../../lab/cgroup.ts";
import { type FaultProxy, startFaultProxy } from "../../lab/fault-proxy.ts";
import { gatewayPolicy, transitMount } from "../../lab/openbao.ts";
import { type Fault, vault } from "./fault.ts";
import type { World } from "./world.ts";

/** A gateway with a way of its own to Vault. */
async function addGateway(world: World, name: string): Promise<{ readonly way: FaultProxy; readonly url: string }> {
  const { addr } = vault(world);
  const way = await startFaultProxy({ target: () => Number(new URL(addr).port) });
  world.onStop(() => way.close());
  const { url } = await world.addGateway(name, { addresses: [addr.replace(/\d+$/, String(way.port))] });
  return { way, url };
}

export const slowWay: Fault = {
  how: "every answer of Vault takes a second and a half to one of three gateways",
  alerts: ["ClavigerBackendSlow"],
  async cause(world) {
    const { way, url } = await addGateway(world, "gateway-slow");
    await world.addShim("node-slow", { gateways: [url] });
    await way.set({ kind: "slow", ms: 1500 });
  },
  cure: (world) => world.forgetAdded(),
};

/** Of a core, for both gateways: the one who floods them and OpenBao need some as well. */
const share = 0.4;
let flooded: ReturnType<OpenFlood["run"]> | undefined;
export const busy: Fault = {
  how: "a cluster asks for more than two gateways with a fifth of a core each can serve",
  alerts: ["ClavigerGatewayOverloaded", "ClavigerEventLoopBusy"],
  async cause({ lab, onStop }) {
    const cgroup = createCpuCgroup(`claviger-test-${process.pid}`, share);
    onStop(() => Promise.resolve(cgroup.remove()));
    for (const { proc } of lab.gateways) cgroup.add(proc.pid);
    const gateways = lab.gateways.map(({ url }) => url);
    const identities = Array.from({ length: 8 }, (_, index) => ({
      index,
      cluster: "cluster-1",
      node: `node-${index + 1}`,
      gateways,
    }));
    const certificates = await createNodeCertificates(lab.pki.authority, { cluster: "cluster-1", node: "node-1" });
    const flood = { identities, connections: 400, perSecond: 20_000, seconds: 40 };
    const open = await openFlood(flood, certificates, lab.pki.authority.cert);
    flooded = open.run();
  },
  async cure(world) {
    await flooded;
    for (const { proc } of world.lab.gateways) {
      await world.lab.processes.stop(proc, 0);
      await world.restart(proc);
    }
  },
};

/** Days; a rule's year is six of these. */
const keyAgeDays = 400;
/** Of a token that nothing renews; a rule's week is 2.8 hours. */
const tokenLife = "2h";

export const unattended: readonly Fault[] = [
  {
    how: "a key of long ago was restored from a backup",
    alerts: ["ClavigerKeyOld"],
    async cause(world) {
      const bao = vault(world);
      const made = `${transitMount}/keys/long-ago`;
      await bao.call("POST", made, { type: "aes256-gcm96", exportable: true, allow_plaintext_backup: true });
      const { data } = await bao.call<{ data: { backup: string } }>("GET", `${transitMount}/backup/long-ago`);
      const created = new Date(Date.now() - keyAgeDays * 86_400_000).toISOString();
      const aged = Buffer.from(data.backup, "base64")
        .toString("utf8")
        .replaceAll(/"creation_time":"[^"]*"/g, `"creation_time":"${created}"`)
        .replaceAll(/"creation_time":\d+/g, `"creation_time":${Math.floor(Date.parse(created) / 1000)}`);
      await bao.call("POST", `${transitMount}/restore/cluster-3`, { backup: Buffer.from(aged).toString("base64") });
      const policy = gatewayPolicy(["cluster-1", "cluster-2", "cluster-3"]);
      await bao.call("PUT", "sys/policies/acl/claviger-gateway", { policy });
      const keys = `[{ backend: main, mount: ${transitMount}, key: cluster-3 }]`;
      appendFileSync(
        world.lab.registry,
        `  - { name: cluster-3, uid: ${newClusterUid()}, state: active, rotation: auto, keys: ${keys} }\n`,
      );
      await world.addShim("node-3", { cluster: "cluster-3" });
    },
  },
  {
    how: "a gateway has a token that cannot be renewed",
    alerts: ["ClavigerVaultTokenEnds"],
    async cause(world) {
      const wanted = { policies: ["claviger-gateway"], ttl: tokenLife, renewable: false };
      const { auth } = await vault(world).call<{ auth: { client_token: string } }>("POST", "auth/token/create", wanted);
      const file = join(world.lab.dir, "short.token");
      writeFileSync(file, auth.client_token, { mode: 0o600 });
      await world.addGateway("gateway-token", { auth: { kind: "token", file } });
    },
  },
  {
    how: "a gateway is cut off from Vault and Redis, and a key is rotated",
    alerts: ["ClavigerKeyVersionsDiffer", "ClavigerAuditHeadUnsigned"],
    async cause(world) {
      const { lab } = world;
      const { way, url } = await addGateway(world, "gateway-cut");
      await world.addShim("node-cut", { gateways: [url] });
      if (lab.redis !== undefined) await lab.processes.stop(lab.redis.proc());
      await way.set({ kind: "refuse" });
      await vault(world).call("POST", `${transitMount}/keys/cluster-1/rotate`, {});
    },
    async cure({ lab, forgetAdded }) {
      forgetAdded();
      await lab.redis?.start();
    },
  },
];
