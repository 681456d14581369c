// What gateways keep of nodes in Redis: little, late, and nothing that somebody else has made up.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  createNodeReports,
  type NodeReport,
  readNodeReports,
  type SeenNode,
} from "@claviger/gateway-core/src/redis/node-reports.ts";
import { signValue } from "@claviger/gateway-core/src/redis/signed-value.ts";
import { type ClusterUid, clusterUid, nodeName } from "@claviger/proto/wire/names.ts";
import { createManualClock } from "../../../proto/runtime/manual-clock.ts";
import { createFakeRedis } from "./fakes.ts";

const uid = clusterUid.parse("01JD9Z6X3QK8V5T7W2M4N6P8RA");
const other = clusterUid.parse("01JD9Z6X3QK8V5T7W2M4N6P8RB");
const secret = Buffer.alloc(32, 7);
const T = 1_700_000_000_000;
const day = 86_400_000;
const certificate = { serial: "0A1B", notBefore: T - day, notAfter: T + day };
const header = "version=0.2.0;phase=0;good=3;config=0123456789abcdef";

function seen(node = "node-1", more: Partial<SeenNode> = {}): SeenNode {
  return { cluster: uid, node: nodeName.parse(node), certificate, header, ...more };
}

function world({ random = 1, maxKnown = 50_000 } = {}) {
  const clock = createManualClock();
  const now = (): number => T + clock.now();
  const server = createFakeRedis(now);
  const redis = server.open();
  const state = { secret: secret as Uint8Array | undefined, malformed: 0 };
  const create = (gateway: string) =>
    createNodeReports({
      redis,
      secret: () => state.secret,
      gateway: () => gateway,
      onMalformed: () => void (state.malformed += 1),
      now,
      clock,
      random: () => random,
      maxKnown,
    });
  const read = async (cluster: ClusterUid = uid): Promise<readonly NodeReport[]> =>
    (await readNodeReports(redis, secret, cluster)).reports;
  return { clock, now, server, redis, state, create, reports: create("gateway-1"), read };
}

test("a node is written once in half a minute, with what it says and who saw it", async () => {
  const { clock, server, reports, read } = world();
  for (let i = 0; i < 100; i++) reports.seen(seen());
  assert.equal(server.writes, 0, "not while its Status is answered");
  await clock.pass(1000);
  assert.equal(server.writes, 1);
  assert.deepEqual(await read(), [
    {
      node: "node-1",
      at: T,
      gateway: "gateway-1",
      certificate,
      shim: { version: "0.2.0", phase: 0, sinceGood: 3, config: "0123456789abcdef" },
    },
  ]);
  await clock.pass(28_000);
  reports.seen(seen());
  await clock.pass(1000);
  assert.equal(server.writes, 1);
  await clock.pass(2000);
  reports.seen(seen());
  await clock.pass(1000);
  assert.equal(server.writes, 2);
  assert.equal((await read())[0]?.at, T + 32_000);
});

const changes: Readonly<Record<string, Partial<SeenNode>>> = {
  "its phase": { header: header.replace("phase=0", "phase=1") },
  "its version": { header: header.replace("0.2.0", "0.3.0") },
  "its key_id": { header: `${header};key=clv1.${"b".repeat(43)}` },
  "its settings": { header: header.replace("0123", "3210") },
  "its certificate": { certificate: { ...certificate, serial: "0A1C" } },
  "whether it says anything": { header: undefined },
};
for (const [what, change] of Object.entries(changes))
  test(`a node is written at once when ${what} has changed`, async () => {
    const { clock, server, reports } = world();
    reports.seen(seen());
    await clock.pass(1000);
    reports.seen(seen("node-1", change));
    await clock.pass(1000);
    assert.equal(server.writes, 2);
    reports.seen(seen("node-1", change));
    await clock.pass(1000);
    assert.equal(server.writes, 2);
  });

test("nodes of a cluster are written together, and clusters apart", async () => {
  const { clock, server, reports, read } = world();
  for (const node of ["node-1", "node-2", "node-3"]) {
    reports.seen(seen(node));
    reports.seen(seen(node, { cluster: other }));
  }
  await clock.pass(1000);
  assert.equal(server.writes, 2);
  assert.deepEqual(
    (await read()).map(({ node }) => node),
    ["node-1", "node-2", "node-3"],
  );
  assert.equal((await read(other)).length, 3);
});

test("a word that cannot be read is counted, and the node is seen all the same", async () => {
  const { clock, state, reports, read } = world();
  reports.seen(seen("node-1", { header: "version=<script>;phase=0" }));
  reports.seen(seen("node-2", { header: [header, header] }));
  // A shim of 0.1.0 says nothing, and that is nothing wrong.
  reports.seen(seen("node-3", { header: undefined }));
  await clock.pass(1000);
  assert.equal(state.malformed, 2);
  assert.deepEqual(
    (await read()).map(({ node, shim }) => [node, shim]),
    [
      ["node-1", undefined],
      ["node-2", undefined],
      ["node-3", undefined],
    ],
  );
});

test("what is passed over in a header does not reach Redis", async () => {
  const { clock, server, reports } = world();
  reports.seen(seen("node-1", { header: `${header};later=whatever` }));
  await clock.pass(1000);
  assert.ok(!JSON.stringify(server.hash(`nodes:${uid}`)).includes("whatever"));
});

test("forged, moved, cut and foreign values are refused and counted", async () => {
  const { clock, server, redis, reports, read } = world();
  reports.seen(seen());
  await clock.pass(1000);
  const { "node-1": value = "" } = server.hash(`nodes:${uid}`);
  const forged = value.replace('"phase', '"Phase').replace("0A1B", "0A1C");
  server.setHash(`nodes:${uid}`, {
    "node-1": value,
    "node-2": value,
    "node-3": forged,
    "node-4": value.slice(0, 30),
    "node-5": signValue(Buffer.alloc(32, 8), `nodes:${uid}/node-5`, "{}"),
    // Signed, and yet no name of a node.
    "../x": signValue(secret, `nodes:${uid}/../x`, "{}"),
  });
  server.setHash(`nodes:${other}`, { "node-1": value });
  const { reports: found, refused } = await readNodeReports(redis, secret, uid);
  assert.deepEqual([found.map(({ node }) => node), refused], [["node-1"], 5]);
  assert.deepEqual(await read(other), []);
});

test("of two gateways that saw a node the one that saw it last is told", async () => {
  const { clock, create, reports, read } = world();
  const second = create("gateway-2");
  reports.seen(seen());
  await clock.pass(10_000);
  second.seen(seen());
  await clock.pass(1000);
  assert.deepEqual(
    (await read()).map(({ gateway, at }) => [gateway, at]),
    [["gateway-2", T + 10_000]],
  );
});

test("a Redis that was emptied knows every node again when each has asked for its next Status", async () => {
  const { clock, server, reports, read } = world();
  const nodes = ["node-1", "node-2", "node-3"];
  const minute = async (): Promise<void> => {
    for (const node of nodes) reports.seen(seen(node));
    await clock.pass(60_000);
  };
  await minute();
  await minute();
  server.entries.clear();
  assert.deepEqual(await read(), []);
  // A minute between two Statuses of an apiserver, and half a second until it is written.
  for (const node of nodes) reports.seen(seen(node));
  await clock.pass(500);
  assert.deepEqual(
    (await read()).map(({ node }) => node),
    nodes,
  );
});

test("a Redis that is away costs nothing, and a node is written at its next Status; without the key nothing is", async () => {
  const { clock, server, state, reports, read } = world();
  state.secret = undefined;
  reports.seen(seen());
  await clock.pass(1000);
  assert.equal(server.writes, 0);
  state.secret = secret;
  server.isAway = true;
  reports.seen(seen());
  await clock.pass(1000);
  server.isAway = false;
  reports.seen(seen());
  await clock.pass(1000);
  assert.equal((await read()).length, 1);
});

test("a node that nobody has seen for a month, and one beyond the thousandth of a cluster, is removed", async () => {
  const { clock, server, reports, read } = world({ random: 0 });
  reports.seen(seen("old"));
  await clock.pass(20 * day);
  reports.seen(seen("kept"));
  await clock.pass(11 * day);
  reports.seen(seen("new"));
  await clock.pass(1000);
  assert.deepEqual((await read()).map(({ node }) => node).toSorted(), ["kept", "new"]);
  for (let i = 0; i < 1100; i++) reports.seen(seen(`n-${i}`));
  await clock.pass(1000);
  assert.equal(Object.keys(server.hash(`nodes:${uid}`)).length, 1000);
  assert.equal(
    (await read()).filter(({ node }) => node === "kept" || node === "new").length,
    0,
    "the oldest are removed",
  );
});

test("what is kept in memory is bounded: beyond it a node is written once more, and none is lost", async () => {
  const { clock, server, reports } = world({ maxKnown: 2 });
  for (const node of ["a", "b", "c"]) reports.seen(seen(node));
  await clock.pass(1000);
  const { writes } = server;
  reports.seen(seen("c"));
  await clock.pass(1000);
  assert.equal(server.writes, writes, "one that is known waits its time");
  reports.seen(seen("a"));
  await clock.pass(1000);
  assert.equal(server.writes, writes + 1);
});

test("nodes beyond two thousand in half a second are written at their next Status", async () => {
  const { clock, reports, read } = world();
  const all = (): void => {
    for (let i = 0; i < 2100; i++) reports.seen(seen(`n-${i}`));
  };
  all();
  await clock.pass(1000);
  assert.equal((await read()).length, 2000);
  all();
  await clock.pass(1000);
  assert.equal((await read()).length, 2100);
});

test("after its end nothing is written any more", async () => {
  const { clock, server, reports } = world();
  reports.seen(seen());
  reports.close();
  await clock.pass(1000);
  assert.equal(server.writes, 0);
  assert.equal(clock.waiting(), 0);
});
