// Clusters come, change and go through FleetService, wherever the registry lies, and two who edit one at the
// same time lose nothing. (docs/architecture.md #control-plane.)
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import type { Credentials, Reply } from "./call.ts";
import { callersOf, startWorld, type World } from "./world.ts";

type Cluster = Readonly<Record<string, unknown>> & { readonly name: string; readonly etag: string };

const key = (name: string) => ({ backend: "main", mount: "transit", key: name });
const uids = { blue: "01M8CZX875MFSCYTBWR058VXTG", red: "01M8CZX875MFSCYTBWR058VXTH" } as const;
const freshUid = "01M8CZX875MFSCYTBWR058VXTK";
const reason = "a test";

function clusterOf({ json }: Reply): Cluster {
  return json["cluster"] as Cluster;
}

async function get(world: World, name: string, as: Credentials): Promise<Cluster> {
  const reply = await world.call("GetCluster", { name }, as);
  assert.equal(reply.code, "ok", reply.message);
  return clusterOf(reply);
}

async function names(world: World, as: Credentials): Promise<readonly string[]> {
  const { json } = await world.call("ListClusters", {}, as);
  return ((json["clusters"] ?? []) as readonly Cluster[]).map(({ name }) => name);
}

for (const kind of ["file", "directory"] as const)
  suite(`clusters through the fleet service, with a registry in a ${kind}`, () => {
    test("one that is added has its uid and its defaults, and is in the next list", async (t) => {
      const world = await startWorld(t, { registry: kind });
      const { operator } = await callersOf(world.ca);
      const given = {
        name: "green",
        keys: [key("green")],
        labels: { team: "green" },
        expectedNodes: ["cp-1"],
        requestsPerSecond: 50,
      };
      const added = await world.call("AddCluster", { cluster: given, reason }, operator);
      assert.equal(added.code, "ok", added.message);
      assert.match(String(clusterOf(added)["uid"]), /^[0-9A-Z]{26}$/);
      assert.match(String(added.json["registryVersion"]), /^sha256:/);
      const { etag, uid, ...rest } = await get(world, "green", operator);
      assert.equal(etag, clusterOf(added).etag);
      assert.equal(uid, clusterOf(added)["uid"]);
      assert.deepEqual(rest, { ...given, keys: given.keys, state: "active", rotation: "auto" });
      assert.deepEqual(await names(world, operator), ["blue", "green", "red"]);
      assert.equal((await world.call("AddCluster", { cluster: given, reason }, operator)).code, "already_exists");
      const { target, because, method } = world.records.at(-1) ?? {};
      assert.deepEqual([method, target, because], ["addCluster", "green", reason]);
    });

    test("labels, limits, rotation and nodes change, and what is not named stays", async (t) => {
      const world = await startWorld(t, { registry: kind });
      const { operator, admin } = await callersOf(world.ca);
      const before = await get(world, "red", operator);
      const update = async (change: object, as: Credentials = operator): Promise<Cluster> => {
        const reply = await world.call("UpdateCluster", { name: "red", reason, ...change }, as);
        assert.equal(reply.code, "ok", reply.message);
        assert.deepEqual(clusterOf(reply), await get(world, "red", operator));
        return clusterOf(reply);
      };
      const labelled = await update({ setLabels: { env: "dev" } });
      assert.deepEqual(labelled["labels"], { team: "red", env: "dev" });
      assert.equal(labelled["generation"], before["generation"], "labels raise no generation");
      assert.notEqual(labelled.etag, before.etag);
      assert.deepEqual((await update({ removeLabels: ["env"] })).etag, before.etag);
      const limited = await update({ requestsPerSecond: 7, rotation: "manual" });
      assert.deepEqual([limited["requestsPerSecond"], limited["rotation"]], [7, "manual"]);
      const expecting = await update({ expectedNodes: ["cp-2", "cp-1", "cp-2"] });
      assert.deepEqual([expecting["expectedNodes"], expecting["generation"]], [["cp-1", "cp-2"], 1]);
      const refused = await world.call("UpdateCluster", { name: "red", anyNode: true, reason }, operator);
      assert.match(refused.message, /this takes the role admin; olga is operator/);
      assert.equal((await update({ anyNode: true }, admin))["expectedNodes"], undefined);
    });

    test("of two who edit what both have seen one wins, and the other is told", async (t) => {
      const world = await startWorld(t, { registry: kind });
      const { admin, operator } = await callersOf(world.ca);
      const { etag } = await get(world, "red", admin);
      const edit = (env: string, as: Credentials) =>
        world.call("UpdateCluster", { name: "red", setLabels: { env }, ifEtag: etag, reason }, as);
      const replies = await Promise.all([edit("dev", admin), edit("prod", operator)]);
      assert.deepEqual(replies.map(({ code }) => code).toSorted(), ["aborted", "ok"]);
      const loser = replies.find(({ code }) => code === "aborted");
      assert.match(loser?.message ?? "", /red was changed since you looked at it; look at it and do this again/);
      const winner = replies[0]?.code === "ok" ? "dev" : "prod";
      assert.deepEqual((await get(world, "red", admin))["labels"], { team: "red", env: winner });
      for (const [method, message] of [
        ["SetClusterState", { name: "red", state: "suspended" }],
        ["RemoveCluster", { name: "red", force: true }],
      ] as const) {
        const late = await world.call(method, { ...message, ifEtag: etag, reason }, admin);
        assert.equal(late.code, "aborted", method);
      }
      assert.deepEqual(world.records.at(-1)?.outcome, "failed");
    });

    test("one is removed when it is suspended, and its uid is given to none", async (t) => {
      const world = await startWorld(t, { registry: kind });
      const { admin, operator } = await callersOf(world.ca);
      const active = await world.call("RemoveCluster", { name: "red", reason }, admin);
      assert.equal(active.code, "failed_precondition");
      assert.match(active.message, /red is active: suspend it first/);
      const removed = await world.call("RemoveCluster", { name: "blue", reason }, admin);
      assert.equal(removed.code, "ok", removed.message);
      const record = clusterOf(removed);
      assert.equal(record["uid"], uids.blue);
      assert.deepEqual(await names(world, admin), ["red"]);
      const add = (cluster: object, more: object = {}, as: Credentials = admin) =>
        world.call("AddCluster", { cluster, reason, ...more }, as);
      assert.match((await add(record)).message, /the uid \S+ is that of the blue that was removed; a new cluster gets/);
      for (const restore of [false, true])
        assert.match(
          (await add({ ...record, name: "teal" }, { restore })).message,
          /is that of blue, which was removed, for life/,
        );
      assert.match((await add(record, { restore: true }, operator)).message, /this takes the role admin/);
      const again = await add(record, { restore: true });
      assert.equal(again.code, "ok", again.message);
      assert.deepEqual(await get(world, "blue", admin), record);
      assert.equal((await world.call("RemoveCluster", { name: "red", force: true, reason }, admin)).code, "ok");
      assert.deepEqual(await names(world, admin), ["blue"]);
    });

    test("an import adds what is missing, passes over what is there, and is all or nothing", async (t) => {
      const world = await startWorld(t, { registry: kind });
      const { operator } = await callersOf(world.ca);
      const [blue, red] = [await get(world, "blue", operator), await get(world, "red", operator)];
      const green = { name: "green", uid: freshUid, keys: [key("green")], generation: 4, state: "decrypt-only" };
      const run = (clusters: readonly object[], more: object = {}) =>
        world.call("ImportClusters", { clusters, reason, ...more }, operator);
      const conflict = await run([{ ...red, rotation: "manual" }, { ...blue, uid: freshUid }, green]);
      assert.equal(conflict.code, "failed_precondition");
      assert.match(conflict.message, /red is there already, with another rotation; blue is there .* another uid/);
      const tried = await run([blue, green], { dryRun: true });
      assert.deepEqual([tried.json["added"], tried.json["present"]], [["green"], ["blue"]]);
      assert.deepEqual(await names(world, operator), ["blue", "red"]);
      assert.equal((await run([blue, green])).code, "ok");
      const now = await get(world, "green", operator);
      assert.deepEqual([now["uid"], now["generation"], now["state"]], [freshUid, 4, "decrypt-only"]);
      assert.deepEqual((await run([blue, green])).json["present"], ["blue", "green"]);
      const taken = await run([{ ...green, name: "lime" }]);
      assert.equal(taken.code, "failed_precondition");
      assert.match(taken.message, /uid/);
      assert.deepEqual(await names(world, operator), ["blue", "green", "red"]);
    });

    test("a dry run checks, and changes nothing", async (t) => {
      const world = await startWorld(t, { registry: kind });
      const { admin } = await callersOf(world.ca);
      const before = world.registry();
      const cluster = { name: "green", keys: [key("green")] };
      for (const [method, message] of Object.entries({
        AddCluster: { cluster },
        UpdateCluster: { name: "red", setLabels: { env: "dev" } },
        SetClusterState: { name: "red", state: "suspended" },
        RemoveCluster: { name: "blue" },
      })) {
        const { code, json, message: why } = await world.call(method, { ...message, reason, dryRun: true }, admin);
        assert.equal(code, "ok", why);
        assert.equal(json["registryVersion"], undefined, method);
      }
      assert.equal(world.registry(), before);
      const taken = { cluster: { ...cluster, uid: uids.red }, reason, dryRun: true };
      assert.equal((await world.call("AddCluster", taken, admin)).code, "failed_precondition");
    });
  });

suite("clusters through the fleet service", () => {
  test("a role for some clusters adds and labels none beyond them, and shares no key with others", async (t) => {
    const world = await startWorld(t);
    const bob = (await callersOf(world.ca))["operator of blue"];
    const before = world.registry();
    const add = (cluster: object) => world.call("AddCluster", { cluster, reason }, bob);
    const labels = { team: "blue" };
    for (const [reply, why] of [
      [await add({ name: "green", keys: [key("green")] }), /role of bob is for clusters with the labels team=blue/],
      [await add({ name: "green", labels, keys: [key("red")] }), /also that of a cluster that is none of yours/],
      [
        await add({ name: "green", labels, keys: [key("green")], previousKeys: [key("red")] }),
        /also that of a cluster that is none of yours/,
      ],
      [
        await world.call("UpdateCluster", { name: "blue", setLabels: { team: "red" }, reason }, bob),
        /role of bob is for clusters with the labels team=blue, and blue would have others/,
      ],
    ] as const) {
      assert.equal(reply.code, "permission_denied");
      assert.match(reply.message, why);
    }
    const hidden = await world.call("UpdateCluster", { name: "red", setLabels: { team: "blue" }, reason }, bob);
    assert.equal(hidden.code, "not_found");
    assert.equal(world.registry(), before);
    assert.equal((await add({ name: "green", labels, keys: [key("green")] })).code, "ok");
  });

  test("where a resumption takes two, a removed cluster comes back suspended; where it does not, by no call", async (t) => {
    for (const needing of [["resume"], ["allow-node"]] as const) {
      const world = await startWorld(t, { needing });
      const { admin } = await callersOf(world.ca);
      const record = { name: "green", uid: freshUid, state: "suspended", keys: [key("green")] };
      assert.equal((await world.call("AddCluster", { cluster: record, reason }, admin)).code, "ok");
      world.edit((text) => text.replace(/ {2}- name: green[^]*?(?= {2}- |$)/, ""));
      writeFileSync(join(world.dir, "clusters.yaml.removed-uids"), `${freshUid} green\n`);
      const restore = (state: string) =>
        world.call("AddCluster", { cluster: { ...record, state }, restore: true, reason }, admin);
      const open = await restore("active");
      assert.equal(open.code, "failed_precondition");
      const back = await restore("suspended");
      if (needing[0] === "resume") {
        assert.match(open.message, /green would come back active: let it come back suspended; its resumption takes/);
        assert.equal(back.code, "ok", back.message);
        const resumed = await world.call("SetClusterState", { name: "green", state: "active", reason }, admin);
        assert.match(resumed.message, /^this takes a second administrator/);
      } else
        for (const { message } of [open, back])
          assert.match(
            message,
            /comes back in the registry itself: approvals\.methods of fleet\.yaml does not list resume/,
          );
    }
  });

  test("what is wrong with a request is said, and nothing is changed", async (t) => {
    const world = await startWorld(t);
    const { admin } = await callersOf(world.ca);
    const cluster = { name: "green", keys: [key("green")] };
    const rows: readonly (readonly [method: string, message: object, why: RegExp])[] = [
      ["AddCluster", { reason }, /cluster: is missing; it needs a name and a key/],
      ["AddCluster", { cluster }, /reason: say why/],
      ["AddCluster", { cluster: { name: "green" }, reason }, /cluster green: keys: must list exactly one key/],
      ["AddCluster", { cluster: { ...cluster, name: "G" }, reason }, /cluster G: name: /],
      ["AddCluster", { cluster: { ...cluster, uid: "1" }, reason }, /cluster green: uid: /],
      ["AddCluster", { cluster: { ...cluster, state: "on" }, reason }, /cluster green: state: /],
      ["AddCluster", { cluster: { ...cluster, labels: { a: "-" } }, reason }, /cluster green: labels\.a: /],
      ["AddCluster", { cluster: { ...cluster, issuer: "x" }, reason }, /cluster green: issuer: must be sha256:/],
      ["AddCluster", { cluster: { ...cluster, uid: uids.red }, reason }, /uid/],
      ["ImportClusters", { reason }, /clusters: must be 1 to 100/],
      ["ImportClusters", { clusters: [cluster], reason }, /cluster green: an import needs its uid/],
      ["ImportClusters", { clusters: [{ ...cluster, uid: freshUid }] }, /reason: say why/],
      [
        "ImportClusters",
        { clusters: [0, 1].map(() => ({ ...cluster, uid: freshUid })), reason },
        /nothing was imported.*green stands twice/,
      ],
      ["UpdateCluster", { name: "red", reason }, /nothing is to be changed/],
      ["UpdateCluster", { name: "red", setLabels: { a: "b" } }, /reason: say why/],
      ["UpdateCluster", { name: "red", setLabels: { "-a": "b" }, reason }, /label "-a" must be a label's key/],
      ["UpdateCluster", { name: "red", setLabels: { a: "-" }, reason }, /label a must be a label's value/],
      ["UpdateCluster", { name: "red", setLabels: { a: "b" }, removeLabels: ["a"], reason }, /a is set and removed/],
      ["UpdateCluster", { name: "red", rotation: "never", reason }, /rotation: must be auto or manual/],
      ["UpdateCluster", { name: "red", expectedNodes: ["N!"], reason }, /node: must be a lower-case DNS name/],
      ["UpdateCluster", { name: "red", expectedNodes: ["n"], anyNode: true, reason }, /one of the two/],
      ["UpdateCluster", { name: "red", requestsPerSecond: 2_000_000, reason }, /requestsPerSecond/],
      ["UpdateCluster", { name: "none", rotation: "auto", reason }, /there is no cluster "none", or it is none/],
      ["RemoveCluster", { name: "blue" }, /reason: say why/],
      ["RemoveCluster", { name: "none", reason }, /there is no cluster "none", or it is none of yours/],
      ["ListClusters", { selector: "team in red" }, /selector: "team in red" is no selector; as for kubectl/],
      ["ListClusters", { selector: "team=-" }, /selector: label "team=-": what it is given must be/],
    ];
    const before = world.registry();
    for (const [method, message, why] of rows) {
      const reply = await world.call(method, message, admin);
      assert.notEqual(reply.code, "ok", `${method} ${JSON.stringify(message)}`);
      assert.notEqual(reply.code, "internal", `${method} ${JSON.stringify(message)}`);
      assert.match(reply.message, why);
    }
    assert.equal(world.registry(), before);
  });

  test("a selector is kubectl's", async (t) => {
    const world = await startWorld(t);
    const { viewer } = await callersOf(world.ca);
    for (const [selector, wanted] of Object.entries({
      "": ["blue", "red"],
      "team=blue": ["blue"],
      "team!=blue": ["red"],
      "team in (blue,red),!env": ["blue", "red"],
      "team,env": [],
    })) {
      const { json } = await world.call("ListClusters", { selector }, viewer);
      assert.deepEqual(
        ((json["clusters"] ?? []) as readonly Cluster[]).map(({ name }) => name),
        wanted,
        selector,
      );
    }
  });
});
