// Lines of clusters, histories and key_ids over time, as the service tells them to its callers.
import assert from "node:assert/strict";
import { test } from "node:test";
import { writeHistoryStep } from "@claviger/gateway-core/src/redis/histories.ts";
import { writeKeyReport } from "@claviger/gateway-core/src/redis/key-reports.ts";
import { signValue } from "@claviger/gateway-core/src/redis/signed-value.ts";
import { createKeyAccess } from "../../../../gateway/fleet/src/keys/access.ts";
import { createKeyFacts } from "../../../../gateway/fleet/src/keys/facts.ts";
import { noSightings } from "../../../../gateway/fleet/src/sightings.ts";
import { createFakeRedis } from "../core/redis/fakes.ts";
import { putGateways, putReports, reportOf, well, gatewayOf } from "./reports.ts";
import { callersOf, integrityKey, startWorld } from "./world.ts";

const blue = "01M8CZX875MFSCYTBWR058VXTG";
const red = "01M8CZX875MFSCYTBWR058VXTH";
const minute = 60_000;

test("a cluster is a line with what is known of it, and nothing that is not", async (t) => {
  const world = await startWorld(t);
  const { viewer } = await callersOf(world.ca);
  const now = Date.now();
  putGateways(world.redis, integrityKey, now - 10 * minute, [gatewayOf(now - 3000)]);
  putReports(world.redis, integrityKey, red, [
    reportOf("n-1", now - 5000),
    reportOf("n-2", now - 5000, { shim: { ...well, phase: 2, sinceGood: 800 } }),
  ]);
  const redis = world.redis.open();
  const step = Math.floor(now / 10_000) * 10_000 - 20_000;
  const counts = { calls: [4, 1, 0] as const, refusals: { overloaded: 2 } };
  await writeHistoryStep(redis, integrityKey, "g:1", { at: step, ...counts, clusters: { [red]: counts } });
  await redis.put("histories", "g:1", signValue(integrityKey, "histories/g:1", String(now)), 3_600_000);
  const { json } = await world.call("ListClusterStatus", {}, viewer);
  const [first, second] = json["clusters"] as readonly Readonly<Record<string, unknown>>[];
  assert.deepEqual([first?.["cluster"], second?.["cluster"], json["incomplete"]], ["blue", "red", undefined]);
  const { calls, lastSeen, certificateNotAfter, ...line } = second ?? {};
  assert.deepEqual(line, {
    cluster: "red",
    state: "active",
    labels: { team: "red" },
    nodes: { ok: 1, outage: 1 },
    phase: 2,
    refused: 2,
  });
  assert.ok(typeof lastSeen === "string" && typeof certificateNotAfter === "string");
  assert.deepEqual(
    [(calls as readonly number[]).length, (calls as readonly number[]).at(-1), (calls as readonly number[])[0]],
    [30, 5, -1],
  );
  assert.equal((first?.["calls"] as readonly number[] | undefined)?.at(-1), 0, "no call, and that is known");
  const ofBlue = await world.call("ListClusterStatus", { selector: "team=blue", pageSize: 1 }, viewer);
  assert.deepEqual(
    [(ofBlue.json["clusters"] as readonly unknown[]).length, ofBlue.json["nextPageToken"]],
    [1, undefined],
  );
});

test("a history is for those whose clusters it is of", async (t) => {
  const world = await startWorld(t);
  const callers = await callersOf(world.ca);
  for (const message of [{ period: "hour" }, { period: "month", gateway: "g:1" }]) {
    const { code, message: why } = await world.call("GetHistory", message, callers["operator of blue"]);
    assert.equal(code, "permission_denied", why);
    assert.equal((await world.call("GetHistory", message, callers["viewer"])).code, "ok");
  }
  const { json } = await world.call("GetHistory", { cluster: "blue", period: "hour" }, callers["operator of blue"]);
  assert.deepEqual([json["stepSeconds"], json["points"]], [10, undefined]);
});

test("which node was shown which key_id, from when to when", async (t) => {
  const world = await startWorld(t);
  const { viewer, admin } = await callersOf(world.ca);
  const rotated = await world.call("RotateKey", { name: "red", reason: "a test" }, admin);
  assert.equal(rotated.code, "ok", rotated.message);
  await world.call("PromoteKey", { name: "red", reason: "a test" }, admin);
  const status = await world.call("GetClusterKeys", { name: "red" }, viewer);
  const { keyId, promoted } = status.json["keys"] as { readonly keyId: string; readonly promoted: number };
  const at = 1_700_000_000_000;
  const entry = (event: "reported" | "decrypted", node: string, key: string, since: number, last: number) =>
    ({ event, node, keyId: key, since, at: last }) as const;
  world.observe = (records) =>
    Promise.resolve({
      kind: "known",
      entries: new Map(
        records.map(({ name }) => [
          name,
          [
            entry("reported", "n-2", keyId, at + 5000, at + 9000),
            entry("reported", "n-1", keyId, at + 5000, at + 9000),
            entry("reported", "n-1", "clv1.earlier", at, at + 4000),
            entry("decrypted", "n-1", "clv1.earlier", at + 1000, at + 2000),
          ],
        ]),
      ),
    });
  const { json } = await world.call("GetKeyTimeline", { cluster: "red" }, viewer);
  const time = (ms: number): string => new Date(at + ms).toISOString().replace(".000Z", "Z");
  const now = { keyId, version: promoted, shownFrom: time(5000), shownUntil: time(9000) };
  assert.deepEqual(json, {
    currentKeyId: keyId,
    shown: [
      {
        node: "n-1",
        keyId: "clv1.earlier",
        shownFrom: time(0),
        shownUntil: time(4000),
        decryptedFrom: time(1000),
        decryptedUntil: time(2000),
      },
      { node: "n-1", ...now },
      { node: "n-2", ...now },
    ],
  });
  world.observe = () => Promise.resolve({ kind: "unknown", why: "fleet.yaml names no Redis" });
  const without = await world.call("GetKeyTimeline", { cluster: "red" }, viewer);
  assert.match(String(without.json["incomplete"]), /what the nodes were shown is not known: fleet.yaml names no Redis/);
});

test("what a gateway has read of a key is told with when that was", async () => {
  const redis = createFakeRedis().open();
  const access = createKeyAccess({
    backends: {},
    opened: new Map(),
    shared: { redis, secret: () => integrityKey },
    maxAgeMs: undefined,
    facts: createKeyFacts(undefined, noSightings),
  });
  const state = { versions: new Map([[3, 1_700_000_000]]), latest: 4, minEncryption: 3, minDecryption: 1 };
  await writeKeyReport(redis, integrityKey, "main:transit/blue", { sequence: 17, state, failing: "encrypt" });
  const record = (uid: string, key: string) => ({ uid, keys: [{ backend: "main", mount: "transit", key }] }) as never;
  const reports = await access.reported([record(blue, "blue"), record(red, "red")]);
  assert.deepEqual([...reports], [[blue, { sequence: 17, state, failing: "encrypt" }]]);
});
