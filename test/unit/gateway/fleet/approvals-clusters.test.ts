// The two-person rule against the methods that make, change and remove clusters and retire keys: one administrator
// alone opens nothing by a way around. (docs/control-plane.md.)
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { suite, test, type TestContext } from "node:test";
import { issueOperator } from "@claviger/gateway-core/src/pki/authority.ts";
import type { Reply } from "./call.ts";
import { pemOf, startWorld, type World } from "./world.ts";
import { registryText } from "./registry-text.ts";

type Json = Readonly<Record<string, unknown>>;
type Cast = World & { readonly by: (name: string, method: string, message: object) => Promise<Reply> };

async function start(t: TestContext, needing: readonly string[]): Promise<Cast> {
  const world = await startWorld(t, {
    needing: needing as never,
    operators: { rita: { role: "admin", clusters: { matchLabels: { team: "red" } } } },
  });
  return {
    ...world,
    by: async (name, method, message) =>
      await world.call(method, { reason: "a test", ...message }, await pemOf(issueOperator({ ca: world.ca, name }))),
  };
}

/** The approval that a reply says the change waits for. */
async function waitingFor(world: Cast, reply: Reply): Promise<{ readonly id: string; readonly approval: Json }> {
  assert.equal(reply.code, "failed_precondition", reply.message);
  const [, id = ""] = /claviger approvals approve (\S+)$/.exec(reply.message) ?? [];
  const { json } = await world.by("anna", "GetApproval", { id });
  return { id, approval: json["approval"] as Json };
}

const suspended = "01M8CZX875MFSCYTBWR058VXTG";
const keys = [{ backend: "main", mount: "transit", key: "blue" }];

suite("one administrator alone", () => {
  test("takes no further node by UpdateCluster, whatever else the request has", async (t) => {
    const world = await start(t, ["expect-node"]);
    assert.equal((await world.by("ada", "UpdateCluster", { name: "red", expectedNodes: ["n-1", "n-2"] })).code, "ok");
    const before = world.registry();
    for (const message of [
      { anyNode: true },
      { expectedNodes: ["n-1", "n-3"] },
      { expectedNodes: ["n-1", "n-2", "n-3"], setLabels: { team: "red", tier: "1" }, rotation: "manual" },
    ]) {
      const reply = await world.by("ada", "UpdateCluster", { name: "red", ...message });
      const { approval } = await waitingFor(world, reply);
      assert.deepEqual(approval["kinds"], ["expect-node"]);
      assert.equal(world.registry(), before);
    }
    // What opens nothing takes one, and so does what is tried out alone.
    for (const message of [{ expectedNodes: ["n-1"] }, { rotation: "manual" }, { anyNode: true, dryRun: true }])
      assert.equal((await world.by("ada", "UpdateCluster", { name: "red", ...message })).code, "ok");
  });

  test("changes no state and no revocation by UpdateCluster: its request has no place for them", async (t) => {
    const world = await start(t, ["resume", "allow-node"]);
    for (const more of [
      { state: "active" },
      { revokedNodes: [] },
      { nodes: {} },
      { generation: 7 },
      { cluster: { state: "active" } },
    ]) {
      const { code } = await world.by("ada", "UpdateCluster", { name: "blue", setLabels: { tier: "1" }, ...more });
      assert.ok(["ok", "invalid_argument"].includes(code), JSON.stringify(more));
    }
    assert.match(world.registry(), /state: suspended/);
    assert.match(world.registry(), /revoked: \[\s*gone\s*\]/);
    assert.doesNotMatch(world.registry(), /generation: 7/);
  });

  test("removes no closed cluster to bring it back open, under its uid or another's name", async (t) => {
    const world = await start(t, ["resume", "allow-node"]);
    const removal = await waitingFor(world, await world.by("ada", "RemoveCluster", { name: "blue", force: true }));
    assert.deepEqual(removal.approval["kinds"], ["resume", "allow-node"]);
    assert.equal(world.registry(), registryText);
    for (const [method, message] of [
      ["AddCluster", { cluster: { name: "blue", uid: suspended, state: "active", keys } }],
      ["AddCluster", { cluster: { name: "green", uid: suspended, state: "active", keys } }],
      ["AddCluster", { cluster: { name: "green", uid: suspended, state: "active", keys }, restore: true }],
      ["ImportClusters", { clusters: [{ name: "green", uid: suspended, state: "active", keys }], restore: true }],
    ] as const) {
      const { code, message: why } = await world.by("ada", method, message);
      assert.notEqual(code, "ok", why);
      assert.equal(world.registry(), registryText);
    }
    // With the second administrator it goes, and comes back closed alone.
    const removed = await world.by("anna", "ApproveChange", { id: removal.id });
    assert.equal(removed.code, "ok", removed.message);
    assert.doesNotMatch(world.registry(), /name: blue/);
    const back = { name: "blue", uid: suspended, keys, labels: { team: "blue" } };
    for (const state of ["active", "decrypt-only"])
      for (const [method, message] of [
        ["AddCluster", { cluster: { ...back, state }, restore: true }],
        ["ImportClusters", { clusters: [{ ...back, state }], restore: true }],
      ] as const) {
        const { code, message: why } = await world.by("ada", method, message);
        assert.equal(code, "failed_precondition");
        assert.match(why, /let it come back suspended; its resumption takes a second administrator/);
      }
    const restored = await world.by("ada", "AddCluster", { cluster: { ...back, state: "suspended" }, restore: true });
    assert.equal(restored.code, "ok", restored.message);
    const resumed = await world.by("ada", "SetClusterState", { name: "blue", state: "active" });
    assert.deepEqual((await waitingFor(world, resumed)).approval["kinds"], ["resume"]);
  });

  test("takes no open cluster out where that takes two", async (t) => {
    const world = await start(t, ["remove-cluster"]);
    assert.equal((await world.by("ada", "RemoveCluster", { name: "red", force: true, dryRun: true })).code, "ok");
    const { approval, id } = await waitingFor(
      world,
      await world.by("ada", "RemoveCluster", { name: "red", force: true }),
    );
    assert.deepEqual(approval["kinds"], ["remove-cluster"]);
    // What cannot be done waits for nobody.
    assert.match((await world.by("ada", "RemoveCluster", { name: "red" })).message, /suspend it first/);
    assert.equal(readdirSync(join(world.dir, "approvals")).length, 1);
    assert.equal((await world.by("rita", "ApproveChange", { id })).code, "ok");
    assert.doesNotMatch(world.registry(), /name: red/);
  });

  test("an approval for a key is of all clusters that use it", async (t) => {
    const world = await start(t, ["unretire-key"]);
    world.edit((text) => text.replace("key: red", "key: blue"));
    const reply = await world.by("ada", "UnretireKey", { name: "red", fromVersion: 1 });
    const { approval, id } = await waitingFor(world, reply);
    const targets = approval["targets"] as readonly { readonly cluster: string }[];
    assert.deepEqual(targets.map(({ cluster }) => cluster).toSorted(), ["blue", "red"]);
    assert.equal((await world.by("rita", "ApproveChange", { id })).code, "not_found");
  });
});
