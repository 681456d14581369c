// The whole way, on real parts: from nothing to a node that a kube-apiserver writes Secrets through, with a page of
// commands; its certificate renewed under load; and what is left when the control plane, Redis and the PKI are away.
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type LabShim, startShim } from "../../lab/fleet.ts";
import { kmsClient } from "../../lab/kms.ts";
import { type ApiServer, type Etcd, secretPath, startApiServer, startEtcd } from "../../lab/kubernetes.ts";
import { failuresOf, type Tally } from "../../lab/load.ts";
import { createProcessGroup, type ProcessGroup, until } from "../../lab/process-group.ts";
import { startShimLoad } from "../../lab/shim-load.ts";
import { type Site, startSite } from "./site.ts";

const isFull = process.env["CLAVIGER_TEST_FULL"] === "1";
/**
 * Life of the certificates, and how often they are renewed under load. Vault dates them 30 s back, so those of a
 * minute are renewed each 30 s: ten minutes in the full form.
 */
const { lifetime, renewals } = isFull ? { lifetime: "60s", renewals: 20 } : { lifetime: "30s", renewals: 2 };
const awayMs = isFull ? 600_000 : 12_000;
const perSecond = 20;
const secretMs = 500;

suite("from nothing to a node that is served, and on", () => {
  let dir: string;
  let processes: ProcessGroup;
  let site: Site;
  let etcd: Etcd;
  let api: ApiServer;
  let shim: LabShim;
  let pair: string;

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "claviger-path-"));
    processes = createProcessGroup(dir);
    [site, etcd] = await Promise.all([startSite(processes, dir), startEtcd(processes, dir)]);
    await site.startFleet(lifetime);
  });
  after(async () => {
    await api?.close();
    await processes.stopAll();
    rmSync(dir, { recursive: true, force: true });
  });

  /** @param socket where the kube-apiserver looks for it already */
  const startEnrolled = async (node: string, socket?: string): Promise<LabShim> => {
    const enrolled = await site.enroll(node);
    ({ pair } = enrolled);
    const started = await startShim({
      processes,
      dir,
      cluster: site.cluster,
      node,
      pki: site.pki,
      gateways: site.gateways.map(({ url }) => url),
      extra: { ...enrolled.settings, ...(socket !== undefined && { socket: { path: socket, mode: "0600" } }) },
    });
    return { ...started, socket: socket ?? started.socket };
  };
  type AuditRecord = {
    readonly cluster?: string;
    readonly serial?: string;
    readonly outcome: string;
    readonly reason?: string;
    readonly method?: string;
  };
  const records = (): readonly AuditRecord[] =>
    site.gateways.flatMap(({ audit }) =>
      readFileSync(audit, "utf8")
        .split("\n")
        .slice(0, -1)
        .map((line) => JSON.parse(line) as AuditRecord),
    );
  const serials = (): ReadonlySet<string> => new Set(records().flatMap(({ serial }) => serial ?? []));

  /** Round trips through the shim, and Secrets through the kube-apiserver, until `until` is over. */
  const underLoad = async (
    name: string,
    during: () => Promise<void>,
  ): Promise<Tally & { readonly secrets: number }> => {
    const kms = kmsClient(shim.socket);
    const load = startShimLoad([kms], perSecond);
    let secrets = 0;
    let isOver = false;
    const write = async (): Promise<void> => {
      for (; !isOver; await sleep(secretMs)) {
        const value = Buffer.from(`${name} ${secrets}`);
        await api.createSecret(`${name}-${secrets}`, value);
        assert.deepEqual(await api.readSecret(`${name}-${secrets}`), value);
        secrets += 1;
      }
    };
    const writer = write();
    try {
      // The writer ends before that by an error alone.
      await Promise.race([during(), writer]);
    } finally {
      isOver = true;
      await load.stop();
      kms.close();
    }
    await writer;
    return { ...load.take(), secrets };
  };

  test("a kube-apiserver writes and reads Secrets through a shim whose node has enrolled", async () => {
    shim = await startEnrolled("node-1");
    const { status, out } = await site.cli("check", "--socket", shim.socket);
    assert.equal(status, 0, out);
    api = await startApiServer({ processes, dir, name: "apiserver", etcd, socket: shim.socket });
    await api.waitReady();
    const canary = Buffer.from("a password that etcd must never see");
    await api.createSecret("first", canary);
    const stored = await etcd.get(secretPath("first"));
    assert.match(stored?.subarray(0, 16).toString() ?? "", /^k8s:enc:kms:v2:/);
    assert.equal(stored?.includes(canary), false);
    assert.deepEqual(await api.readSecret("first"), canary);
    assert.equal(new X509Certificate(readFileSync(pair)).issuer.includes("Claviger nodes of"), true, "signed by Vault");
  });

  test(`its certificate is renewed ${renewals === 1 ? "once" : `${renewals} times`} under load, and no call fails`, async () => {
    const earlier = serials();
    const tally = await underLoad("renewed", async () => {
      await until(
        "the gateways to have seen the renewed certificates",
        shim.proc,
        () => (serials().size >= earlier.size + renewals ? true : undefined),
        renewals * 45_000,
      );
    });
    assert.deepEqual([failuresOf(tally), [...tally.failed]], [0, []]);
    assert.ok(tally.ok > 0 && tally.secrets > 0);
    assert.deepEqual(
      records().filter(({ outcome }) => outcome !== "ok"),
      [],
    );
    console.log(`${renewals} renewed: ${tally.ok} calls and ${tally.secrets} Secrets, 0 failed`);
  });

  test("without fleet service, Redis and PKI no call of the data plane fails, and a rotation goes on", async () => {
    // With a certificate of a day: for one of seconds the service could not be away.
    await site.startFleet("24h");
    await processes.stop(shim.proc);
    shim = await startEnrolled("node-2", shim.socket);
    await api.waitReady();
    const kms = kmsClient(shim.socket);
    const { keyId } = await kms.status();
    await processes.stop(site.fleet().proc);
    await processes.stop(site.redis.proc());
    await site.bao.call("DELETE", "sys/mounts/pki");
    const refused = await site.cli(
      "node",
      "token",
      `${site.cluster}/x`,
      "--reason",
      "x",
      ...(await site.fleet().options("ada")),
    );
    assert.match(refused.err, /the fleet service \S+ cannot be reached/);
    const tally = await underLoad("away", async () => {
      await site.bao.call("POST", `transit/keys/${site.cluster}/rotate`);
      await until(
        "a new key_id without Redis",
        shim.proc,
        async () => ((await kms.status()).keyId !== keyId ? true : undefined),
        20_000,
      );
      await sleep(awayMs);
    });
    kms.close();
    assert.deepEqual([failuresOf(tally), [...tally.failed]], [0, []]);
    assert.ok(tally.secrets > 0);
    console.log(
      `${awayMs / 1000} s without the control plane: ${tally.ok} calls and ${tally.secrets} Secrets, 0 failed`,
    );
  });
});
