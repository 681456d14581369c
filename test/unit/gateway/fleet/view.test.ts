// Nodes, gateways and the state of a fleet, as the service tells them.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { callersOf, integrityKey, startWorld } from "./world.ts";
import { gatewayOf, putGateways, putReports, reportOf, well } from "./reports.ts";

const blue = "01M8CZX875MFSCYTBWR058VXTG";
const red = "01M8CZX875MFSCYTBWR058VXTH";
const minute = 60_000;

type Node = { readonly cluster: string; readonly node: string; readonly condition: string } & Readonly<
  Record<string, unknown>
>;

async function site(t: TestContext) {
  const world = await startWorld(t);
  const now = Date.now();
  const callers = await callersOf(world.ca);
  putGateways(world.redis, integrityKey, now - 10 * minute, [gatewayOf(now - 3000)]);
  putReports(world.redis, integrityKey, red, [
    reportOf("n-1", now - 5000),
    reportOf("n-2", now - 5000, { shim: { ...well, phase: 2, sinceGood: 800 } }),
    reportOf("n-3", now - 20 * minute),
  ]);
  putReports(world.redis, integrityKey, blue, [reportOf("n-1", now - 60 * minute)]);
  const call = async (method: string, message: object, who = "viewer") => {
    const { code, json, message: why } = await world.call(method, message, callers[who]);
    return { code, json, why };
  };
  const list = async (message: object, who = "viewer") => {
    const { json } = await call("ListNodes", message, who);
    const nodes = (json["nodes"] ?? []) as readonly Node[];
    return {
      names: nodes.map(({ cluster, node, condition }) => `${cluster}/${node} ${condition}`),
      next: json["nextPageToken"] as string | undefined,
      incomplete: json["incomplete"] as string | undefined,
    };
  };
  return { ...world, now, call, list };
}

test("nodes come by cluster and name, in pages, and are filtered", async (t) => {
  const { list } = await site(t);
  const all = ["blue/gone revoked", "blue/n-1 not_seen", "red/n-1 ok", "red/n-2 outage", "red/n-3 not_seen"];
  assert.deepEqual(await list({}), { names: all, next: undefined, incomplete: undefined });
  const paged: string[] = [];
  let pageToken: string | undefined = "";
  for (let page = 0; page < 3 && pageToken !== undefined; page += 1) {
    const { names, next } = await list({ pageSize: 2, pageToken });
    paged.push(...names);
    pageToken = next;
  }
  assert.deepEqual([paged, pageToken], [all, undefined]);
  const filters: readonly (readonly [filter: object, names: readonly string[]])[] = [
    [{ cluster: "red" }, all.slice(2)],
    [{ matchLabels: { team: "blue" } }, all.slice(0, 2)],
    [{ cluster: "red", matchLabels: { team: "blue" } }, []],
    [{ conditions: ["outage", "revoked"] }, ["blue/gone revoked", "red/n-2 outage"]],
    [{ phases: [2, 3] }, ["red/n-2 outage"]],
    [{ notSeenForSeconds: 900 }, ["blue/gone revoked", "blue/n-1 not_seen", "red/n-3 not_seen"]],
    [{ notSeenForSeconds: 900, cluster: "red" }, ["red/n-3 not_seen"]],
  ];
  for (const [filter, names] of filters) assert.deepEqual((await list(filter)).names, names, JSON.stringify(filter));
  assert.deepEqual((await list({}, "operator of blue")).names, all.slice(0, 2));
});

test("a node is told with its age and all that it said", async (t) => {
  const { call, now } = await site(t);
  const { json } = await call("GetNode", { cluster: "red", node: "n-2" });
  const { ageSeconds, ...node } = json["node"] as Node;
  assert.ok(Number(ageSeconds) >= 5 && Number(ageSeconds) < 60);
  const at = (ms: number): string => new Date(ms).toISOString();
  assert.deepEqual(node, {
    cluster: "red",
    node: "n-2",
    condition: "outage",
    lastSeen: at(now - 5000),
    gateway: "gateway-1:8443",
    shimVersion: "0.2.0",
    phase: 2,
    secondsSinceGood: "800",
    configHash: "0123456789abcdef",
    certificateSerial: "0A1B",
    certificateNotBefore: at(now - 5000 - 86_400_000),
    certificateNotAfter: at(now - 5000 + 86_400_000),
  });
  const revoked = await call("GetNode", { cluster: "blue", node: "gone" });
  assert.deepEqual(revoked.json["node"], { cluster: "blue", node: "gone", condition: "revoked", revoked: true });
});

test("gateways are told with their age, their Vaults and what is wrong with them", async (t) => {
  const { call, redis, now } = await site(t);
  const login = { until: now + minute, isLast: false };
  putGateways(redis, integrityKey, now - 10 * minute, [
    gatewayOf(now - 3000, {
      name: "z:1",
      backends: [
        {
          name: "main",
          addresses: [
            { address: "https://a:1", isUp: true },
            { address: "https://b:1", isUp: false },
          ],
          login,
        },
      ],
      problems: { audit: "no sink takes records" },
    }),
    gatewayOf(now - 3000),
  ]);
  const { json } = await call("ListGateways", {});
  const [first, second] = json["gateways"] as readonly Readonly<Record<string, unknown>>[];
  assert.deepEqual([first?.["name"], second?.["name"]], ["gateway-1:8443", "z:1"]);
  assert.ok(Number(second?.["ageSeconds"]) >= 3);
  assert.deepEqual(second?.["problems"], { audit: "no sink takes records" });
  assert.deepEqual(second?.["backends"], [
    {
      name: "main",
      addressesUp: ["https://a:1"],
      addressesDown: ["https://b:1"],
      loginUntil: new Date(login.until).toISOString(),
    },
  ]);
});

test("the fleet in numbers, and what needs a person, for the clusters that the caller may see", async (t) => {
  const { call } = await site(t);
  const { json } = await call("GetFleetStatus", {});
  const { attention, ...numbers } = json;
  assert.deepEqual(numbers, {
    clusters: { suspended: 1, active: 1 },
    nodes: { not_seen: 2, revoked: 1, ok: 1, outage: 1 },
    phases: { 0: 1, 2: 1 },
    shimVersions: { "0.2.0": 4 },
    gatewayVersions: { "0.2.0": 1 },
    attentionTotal: 2,
  });
  const items = attention as readonly { readonly kind: string; readonly target: string; readonly command: string }[];
  assert.deepEqual(
    items.map(({ kind, target }) => `${kind} ${target}`),
    ["outage_degraded red/n-2", "node_not_seen red/n-3"],
  );
  const one = await call("GetFleetStatus", { attentionSize: 1 });
  assert.deepEqual([(one.json["attention"] as readonly unknown[]).length, one.json["attentionTotal"]], [1, 2]);
  const ofBlue = await call("GetFleetStatus", {}, "operator of blue");
  assert.deepEqual(ofBlue.json["clusters"], { suspended: 1 });
  assert.equal(ofBlue.json["attentionTotal"], undefined);
  const labelled = await call("GetFleetStatus", { matchLabels: { team: "red" } });
  assert.deepEqual(labelled.json["clusters"], { active: 1 });
});

test("a Redis that is away, was emptied, or was written to by others, is said with every answer, and nothing is made up", async (t) => {
  const { call, list, redis, now } = await site(t);
  const hash = redis.hash(`nodes:${red}`);
  // A value of one node under another's name, and one that was changed.
  redis.setHash(`nodes:${red}`, {
    "n-1": hash["n-1"] ?? "",
    "n-9": hash["n-1"] ?? "",
    "n-2": (hash["n-2"] ?? "").replace("phase=2", "phase=0"),
  });
  const forged = await list({ cluster: "red" });
  assert.deepEqual(forged.names, ["red/n-1 ok"]);
  assert.match(forged.incomplete ?? "", /^2 values in Redis .* are signed by no gateway/);
  const status = await call("GetFleetStatus", {});
  assert.match(JSON.stringify(status.json["attention"]), /foreign_values/);
  // No hash at all, where one cluster's is: the others are told as they are.
  redis.entries.set(`nodes:${red}`, { value: "x", until: Number.POSITIVE_INFINITY });
  const noHash = await list({});
  assert.deepEqual(noHash.names, ["blue/gone revoked", "blue/n-1 not_seen"]);
  assert.match(noHash.incomplete ?? "", new RegExp(`^1 values in Redis .* \\(below nodes:${red}\\)$`));

  redis.entries.set("gateways", { value: "x", until: Number.POSITIVE_INFINITY });
  const { json: noGateways } = await call("ListGateways", {});
  assert.deepEqual(noGateways["gateways"], undefined);
  assert.match(String(noGateways["incomplete"]), /something else stands where gateways report themselves/);

  redis.entries.clear();
  const emptied = await list({});
  assert.deepEqual(emptied.names, ["blue/gone revoked"]);
  assert.match(emptied.incomplete ?? "", /Redis has held what gateways know of nodes for 0 s/);
  putGateways(redis, integrityKey, now - 30_000, []);
  assert.match((await list({})).incomplete ?? "", /for 3\d s; nodes that have not asked/);
  putGateways(redis, integrityKey, now - 90_000, []);
  assert.equal((await list({})).incomplete, undefined);

  redis.isAway = true;
  for (const [method, message] of [
    ["ListNodes", {}],
    ["GetNode", { cluster: "blue", node: "gone" }],
    ["ListGateways", {}],
    ["GetFleetStatus", {}],
  ] as const) {
    const { code, json } = await call(method, message);
    assert.equal(code, "ok", method);
    assert.match(String(json["incomplete"]), /cannot be read: Redis is away \(connection closed\)/, method);
  }
  const unknown = await call("GetNode", { cluster: "red", node: "n-1" });
  assert.match(
    unknown.why,
    /does not name n-1, and no gateway has seen it; what gateways know of nodes cannot be read/,
  );
});
