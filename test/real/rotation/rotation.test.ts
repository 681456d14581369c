// A key rotated under load: two kube-apiservers on one etcd, two shims, two gateways, 200 requests
// a second. Nothing fails, nothing flaps.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { kmsClient, type KmsClient } from "../../lab/kms.ts";
import { type ApiServer, type Etcd, secretPath } from "../../lab/kubernetes.ts";
import { type Lab, startLab } from "../../lab/lab.ts";
import { failuresOf } from "../../lab/load.ts";
import { longestDifference, shownBy, startShimLoad, watchKeyIds } from "../../lab/shim-load.ts";

const perSecond = 200;
/**
 * keys.refresh of the lab is 1 s, and a propagation at most that and a second; a Status may take a
 * moment on top.
 */
const propagationMs = 2500;
/**
 * A kube-apiserver that is asked for its readiness asks for Status at least this often
 * (docs/kms-contract.md section 1.4).
 */
const probeMs = 23_000;
const steadyMs = process.env["CLAVIGER_TEST_FULL"] === "1" ? 60_000 : 4000;

type Written = { readonly name: string; readonly value: Buffer };

suite(`rotation under ${perSecond} requests a second, two apiservers on one etcd`, () => {
  let dir: string;
  let lab: Lab;
  let apis: readonly [ApiServer, ApiServer];
  let etcd: Etcd;
  let clients: readonly KmsClient[];
  const written: Written[] = [];

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    lab = await startLab({ dir, kubernetes: true, shims: 2, gateways: 2 });
    const [one, two] = lab.kubernetes;
    assert.ok(one !== undefined && two !== undefined && lab.etcd !== undefined);
    [apis, etcd] = [[one, two], lab.etcd];
    clients = lab.shims.map(({ socket }) => kmsClient(socket));
  });
  after(async () => {
    for (const client of clients) client.close();
    await lab.stop();
    await rm(dir, { recursive: true, force: true });
  });

  /** Written by one, read by the other at once. */
  const write = async (): Promise<void> => {
    const n = written.length;
    const one = { name: `secret-${n}`, value: Buffer.from(`value of ${n}`) };
    const [writer, reader] = n % 2 === 0 ? apis : apis.toReversed();
    await writer?.createSecret(one.name, one.value);
    written.push(one);
    assert.deepEqual(await reader?.readSecret(one.name), one.value);
  };
  /** Makes each apiserver ask for Status as often as it ever does. */
  const poll = async (): Promise<void> => {
    for (const api of apis) assert.equal((await api.call("GET", "/readyz")).status, 200, "stays ready");
  };
  /** The key_ids that an apiserver has ever seen in Status, as its own metrics tell: hashed. */
  const seenBy = async (api: ApiServer): Promise<ReadonlySet<string>> => {
    const page = (await api.call<string>("GET", "/metrics")).json;
    const lines = page.matchAll(
      /^apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds\{.*key_id_hash="([^"]+)"/gm,
    );
    return new Set([...lines].map(([, hash]) => hash ?? ""));
  };

  test("each shim's key_id changes exactly once, all agree within the interval, no request fails, no Secret is lost", async () => {
    const load = startShimLoad(clients, perSecond);
    const watch = watchKeyIds(clients);
    const before = await watch.agreed();
    const work = async (done: () => boolean | Promise<boolean>, ms: number, what: string): Promise<void> => {
      for (const end = Date.now() + ms; !(await done()); await sleep(50)) {
        assert.ok(Date.now() < end, what);
        await Promise.all([poll(), write()]);
      }
    };
    const steady = Date.now() + steadyMs;
    await work(() => Date.now() > steady, steadyMs + 5000, "a steady state");

    await lab.vault?.call("POST", "transit/keys/cluster-1/rotate");
    const rotatedAt = Date.now();
    await work(
      () => watch.latest().every((id) => id !== before),
      propagationMs,
      "every shim shows the new key_id within the interval",
    );
    const agreedAt = Date.now();
    const after = watch.latest()[0] ?? "";
    const storedUnder = async (id: string): Promise<boolean> =>
      (
        await Promise.all(
          written.slice(-2).map(async ({ name }) => (await etcd.get(secretPath(name)))?.includes(id) ?? false),
        )
      ).every(Boolean);
    await work(() => storedUnder(after), probeMs, "both apiservers write under the new key_id");
    const end = Date.now() + 2000;
    await work(() => Date.now() > end, 5000, "a steady state again");

    await load.stop();
    const history = await watch.stop();
    const tally = load.take();
    console.log(
      `${tally.ok + failuresOf(tally)} requests and ${written.length} Secrets over a rotation: ${failuresOf(tally)} failed; every shim had the new key_id after ${agreedAt - rotatedAt} ms, shims differed for ${longestDifference(history)} ms at most, both apiservers wrote under it after ${((end - 2000 - rotatedAt) / 1000).toFixed(1)} s`,
    );
    assert.deepEqual([...tally.failed], []);
    for (const i of clients.keys()) assert.deepEqual(shownBy(history, i), [before, after]);
    assert.ok(longestDifference(history) <= propagationMs);
    const hashes = new Set([before, after].map((id) => `sha256:${createHash("sha256").update(id).digest("hex")}`));
    for (const api of apis) assert.deepEqual(await seenBy(api), hashes);
  });

  test("every Secret is readable on both, with nothing in memory too", async () => {
    await Promise.all(apis.map((api) => api.restart()));
    for (const api of apis) for (const { name, value } of written) assert.deepEqual(await api.readSecret(name), value);
  });
});
