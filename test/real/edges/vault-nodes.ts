// One node of a Vault of three goes wrong: the gateways know two of them, the active one first.
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rmSync } from "node:fs";
import { type FaultProxy, html, startFaultProxy } from "../../lab/fault-proxy.ts";
import { createPki, startGateway, startShim, writeRegistry } from "../../lab/fleet.ts";
import { setUpTransit } from "../../lab/openbao.ts";
import { createProcessGroup } from "../../lab/process-group.ts";
import { type Raft, type RaftNode, startRaft } from "../../lab/raft.ts";
import { wayIn } from "./behind-proxy.ts";
import type { Cell } from "./cell.ts";
import { type KmsWorld, kmsWorldOf } from "./kms-world.ts";
import type { Cells } from "./suite.ts";
import { type Certificates, createCertificates } from "./tls.ts";

export type NodesWorld = KmsWorld & {
  readonly raft: Raft;
  readonly active: RaftNode;
  readonly standby: RaftNode;
  readonly certificates: Certificates;
  /** What stands before the node that the faults are of. */
  readonly proxy: FaultProxy;
};

/** @param which node the faults are of */
export async function startNodes(which: "active" | "standby"): Promise<NodesWorld> {
  const dir = await mkdtemp(join(tmpdir(), "claviger-"));
  const processes = createProcessGroup(dir);
  const certificates = await createCertificates();
  const [raft, pki] = await Promise.all([startRaft(processes, dir), createPki(dir)]);
  const registry = writeRegistry(dir, [{ name: "cluster-1", key: "cluster-1" }]);
  const approle = (await setUpTransit(raft, ["cluster-1"], ["gateway-1"], dir)).get("gateway-1");
  const active = await raft.leader();
  const standby = raft.nodes.find((node) => node !== active);
  if (approle === undefined || standby === undefined) throw new TypeError("no nodes");
  const proxyOf = (node: RaftNode): Promise<FaultProxy> =>
    startFaultProxy({ target: () => Number(new URL(node.addr).port), pair: certificates.good });
  const proxies = { active: await proxyOf(active), standby: await proxyOf(standby) };
  const addresses = [proxies.active, proxies.standby].map(({ port }) => `https://127.0.0.1:${port}`);
  const vault = { addresses, approle, settings: { tls: { ca: certificates.ca } } };
  const gateway = await startGateway({ processes, dir, name: "gateway-1", pki, registry, vault });
  const shim = await startShim({ processes, dir, cluster: "cluster-1", node: "node-1", pki, gateways: [gateway.url] });
  const world = await kmsWorldOf({
    dir,
    registry,
    processes,
    pki,
    vault: undefined,
    redis: undefined,
    gateways: [gateway],
    shims: [shim],
    stop: async () => {
      await processes.stopAll();
      await Promise.all([proxies.active.close(), proxies.standby.close(), raft.close()]);
      rmSync(certificates.dir, { recursive: true });
    },
  });
  return { ...world, raft, active, standby, certificates, proxy: proxies[which] };
}

const way = wayIn<NodesWorld>;
function refusal(status: number, error: string) {
  return { status, body: JSON.stringify({ errors: [error] }) };
}
const whole = "a matter of the Vault as a whole: see the section of one address";

/** @param older a state from before, which is not the same for both */
export function nodeCells(older: Cells<NodesWorld>[Fault]): Cells<NodesWorld> {
  const cells: Partial<Record<Fault, Cell<NodesWorld>>> = {
    absent: { how: "nothing listens at its address", ...way({ kind: "refuse" }) },
    slow: { how: "an answer takes 400 ms", ...way({ kind: "slow", ms: 400 }) },
    silent: { how: "it takes connections and says nothing", ...way({ kind: "silent" }) },
    closing: { how: "it closes each connection in the middle of an answer", ...way({ kind: "close" }) },
    "refusing everything": {
      how: "it is sealed",
      ...way({ kind: "answer", answer: () => refusal(503, "Vault is sealed") }),
    },
    "refusing one operation": {
      how: "it answers 500 to `decrypt`",
      ...way({
        kind: "answer",
        answer: ({ path }) => (path.includes("/decrypt/") ? refusal(500, "internal error") : undefined),
      }),
      // It is up at each probe.
      maybe: ["vault-address-down", "vault-address-up"],
    },
    "answering nonsense": {
      how: "it answers 200 and a page of HTML to all",
      ...way({ kind: "answer", answer: () => html }),
    },
    full: {
      how: "it cannot write to its audit device: 500 to all but its health",
      ...way({
        kind: "answer",
        answer: ({ path }) => (path.startsWith("/v1/sys/") ? undefined : refusal(500, "failed to audit request")),
      }),
    },
    "certificate expired or replaced": {
      how: "it shows a certificate that has expired",
      ...way(({ certificates }) => ({ kind: "certificate", pair: certificates.expired })),
      maybeAtEnd: ["vault-address-up"],
    },
  };
  return {
    ...(cells as Cells<NodesWorld>),
    "answering from an older state": older,
    "answering for somebody else": {
      how: "a web server that answers 404 to all is at its address",
      ...way({ kind: "answer", answer: () => ({ ...html, status: 404 }) }),
    },
    "read-only": { unreachable: whole },
    "credentials changed": { unreachable: whole },
    "clock wrong": { unreachable: whole },
  };
}
type Fault = keyof Cells<NodesWorld>;
