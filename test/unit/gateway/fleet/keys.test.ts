// Keys of clusters through FleetService: looked at, rotated, promoted, retired, and brought back.
// (docs/architecture.md #rotation.)
import assert from "node:assert/strict";
import { suite, test, type TestContext } from "node:test";
import { issueOperator } from "@claviger/gateway-core/src/pki/authority.ts";
import type { Observation } from "@claviger/gateway-core/src/redis/observations.ts";
import { gatewayOf, putGateways } from "./reports.ts";
import type { Credentials } from "./call.ts";
import { callersOf, integrityKey, pemOf, startWorld, type World, type WorldOptions } from "./world.ts";

type Keys = {
  readonly cluster: string;
  readonly latest: number;
  readonly promoted: number;
  readonly minDecryptionVersion: number;
  readonly keyId: string;
  readonly keyIdHash: string;
  readonly warning?: string;
  readonly incomplete?: string;
  readonly counted?: Readonly<Record<string, unknown>>;
  readonly problem?: string;
  readonly versions: readonly {
    readonly version: number;
    readonly createdAt: string;
    readonly state: string;
    readonly objects?: number;
    readonly failingAt?: Readonly<Record<string, string>>;
  }[];
};

const reason = "a test";
const uid = "01M8CZX875MFSCYTBWR058VXTG";

async function ok(world: World, method: string, message: object, as: Credentials) {
  const reply = await world.call(method, message, as);
  assert.equal(reply.code, "ok", reply.message);
  return reply.json;
}

async function keysOf(world: World, name: string, as: Credentials): Promise<Keys> {
  return (await ok(world, "GetClusterKeys", { name }, as))["keys"] as Keys;
}

/** Two versions of blue's key, of which the second encrypts, and what a count of its etcd could say. */
async function rotated(t: TestContext, options: WorldOptions = {}) {
  const world = await startWorld(t, options);
  const callers = await callersOf(world.ca);
  const { admin } = callers;
  await ok(world, "PromoteKey", { name: "blue", reason }, admin);
  const first = await keysOf(world, "blue", admin);
  await ok(world, "RotateKey", { name: "blue", reason }, admin);
  await ok(world, "PromoteKey", { name: "blue", reason }, admin);
  const second = await keysOf(world, "blue", admin);
  const use = (version: number, keyId: string) => ({
    clusterUid: uid,
    backend: "main",
    key: "transit/blue",
    version,
    keyId,
    count: 3,
    examples: ["/registry/secrets/default/one"],
  });
  const usage = (...uses: readonly object[]) => [{ cluster: "blue", uses, countedAt: new Date().toISOString() }];
  const good = usage(use(2, second.keyId));
  const retire = (message: object, as: Credentials = admin) =>
    world.call("RetireKey", { name: "blue", usage: good, reason, ...message }, as);
  const seen = (keyId: string, ago: number, event: Observation["event"] = "reported"): Observation => {
    const at = Date.now() - ago;
    return { event, node: "cp-1", keyId, since: at - 3_600_000, at };
  };
  const observe = (...entries: readonly Observation[]) => {
    world.observe = () => Promise.resolve({ kind: "known", entries: new Map([["blue", entries]]) });
  };
  return { world, callers, admin, first, second, use, usage, retire, seen, observe };
}

suite("keys through the fleet service", () => {
  test("a new version waits, is promoted, and each has its age and its state", async (t) => {
    const world = await startWorld(t);
    const { operator, viewer } = await callersOf(world.ca);
    assert.equal((await keysOf(world, "blue", viewer)).promoted ?? 0, 0);
    await ok(world, "PromoteKey", { name: "blue", reason }, operator);
    const rotation = await ok(world, "RotateKey", { name: "blue", reason }, operator);
    assert.equal(rotation["version"], 2);
    const waiting = await keysOf(world, "blue", viewer);
    assert.deepEqual(
      waiting.versions.map(({ version, state }) => [version, state]),
      [
        [1, "encrypts"],
        [2, "waits"],
      ],
    );
    assert.match(waiting.keyId, /^clv1\./);
    assert.match(waiting.keyIdHash, /^sha256:[0-9a-f]{64}$/);
    assert.ok(Math.abs(Date.parse(waiting.versions[1]?.createdAt ?? "") - Date.now()) < 60_000);
    const promotion = await ok(world, "PromoteKey", { name: "blue", reason }, operator);
    assert.equal(promotion["changed"], true);
    const now = await keysOf(world, "blue", viewer);
    assert.deepEqual(
      [now.promoted, now.latest, now.versions.map(({ state }) => state)],
      [2, 2, ["decrypts", "encrypts"]],
    );
    assert.notEqual(now.keyId, waiting.keyId);
    assert.equal((await ok(world, "PromoteKey", { name: "blue", reason }, operator))["changed"], undefined);
    const lost = await ok(world, "RotateKey", { name: "blue", aboveVersion: 4, reason }, operator);
    assert.deepEqual([lost["version"], (lost["keys"] as Keys).promoted], [5, 5]);
    assert.deepEqual(
      world.records
        .filter(({ method }) => /key$/i.test(method))
        .map(({ method, target, because }) => [method, target, because]),
      ["promoteKey", "rotateKey", "promoteKey", "promoteKey", "rotateKey"].map((method) => [method, "blue", reason]),
    );
  });

  test("a list has each cluster's keys, and says of which nothing is known, and which are too old", async (t) => {
    const world = await startWorld(t, { maxAgeMs: 3_600_000 });
    const { admin, viewer } = await callersOf(world.ca);
    await ok(world, "PromoteKey", { name: "blue", reason }, admin);
    const cluster = { name: "green", keys: [{ backend: "other", mount: "transit", key: "green" }] };
    await ok(world, "AddCluster", { cluster, reason }, admin);
    const first = await ok(world, "ListKeys", { pageSize: 2 }, viewer);
    const [blue, green] = first["keys"] as readonly Keys[];
    assert.deepEqual([blue?.cluster, blue?.promoted, blue?.warning, blue?.problem], ["blue", 1, undefined, undefined]);
    assert.equal(green?.cluster, "green");
    assert.match(green.problem ?? "", /the fleet service has no backend other: add it to 'backends' in fleet\.yaml/);
    const rest = await ok(world, "ListKeys", { pageSize: 2, pageToken: first["nextPageToken"] }, viewer);
    assert.deepEqual(
      (rest["keys"] as readonly Keys[]).map((keys) => keys.cluster),
      ["red"],
    );
    const selected = await ok(world, "ListKeys", { selector: "team=red" }, viewer);
    assert.deepEqual(
      (selected["keys"] as readonly Keys[]).map((keys) => keys.cluster),
      ["red"],
    );
    t.mock.timers.enable({ apis: ["Date"], now: Date.now() + 50 * 3_600_000 });
    const late = await keysOf(world, "blue", viewer);
    assert.match(
      late.warning ?? "",
      /^version 1 encrypts and is 2 days old; the policy allows 0 days: claviger key rotate blue$/,
    );
  });

  test("objects that were counted, and versions that do not work, stand beside each version", async (t) => {
    const { world, admin, callers, first, second, use } = await rotated(t);
    const none = await keysOf(world, "blue", admin);
    assert.deepEqual([none.counted, none.versions[0]?.objects], [undefined, undefined]);
    const countedAt = new Date(Date.now() - 7_200_000).toISOString();
    const report = async (usage: object, as = callers["operator of blue"]) =>
      await world.call("ReportKeyUsage", { usage: { cluster: "blue", countedAt, ...usage } }, as);
    const uses = [
      { ...use(1, first.keyId), count: 7 },
      use(2, second.keyId),
      // Of an earlier key of that name, and of another key.
      { ...use(2, first.keyId), count: 5 },
      { ...use(1, first.keyId), key: "transit/older", count: 2 },
    ];
    const told = await report({ uses, foreign: [{ provider: "x", count: 4 }], damagedCount: 1, fromSnapshot: true });
    assert.equal(told.code, "ok", told.message);
    putGateways(world.redis, integrityKey, Date.now() - 3_600_000, [
      gatewayOf(Date.now(), { keyFailures: [{ key: "main:transit/blue", version: 1, what: "decrypt" }] }),
    ]);
    const keys = await keysOf(world, "blue", callers["viewer"]);
    assert.deepEqual(
      keys.versions.map(({ version, objects, failingAt }) => [version, objects, failingAt]),
      [
        [1, 7, { "gateway-1:8443": "decrypt" }],
        [2, 3, undefined],
      ],
    );
    const { ageSeconds, countedAt: at, ...rest } = keys.counted ?? {};
    assert.ok(Number(ageSeconds) >= 7200 && Number(ageSeconds) < 7260);
    assert.equal(Date.parse(String(at)), Math.floor(Date.parse(countedAt) / 1000) * 1000);
    assert.deepEqual(rest, {
      countedBy: "bob",
      fromSnapshot: true,
      otherObjects: 6,
      damaged: 1,
      unreadableObjects: 5,
    });
    const list = (await ok(world, "ListKeys", {}, admin))["keys"] as readonly Keys[];
    assert.deepEqual(
      list[0]?.versions.map(({ objects }) => objects),
      [7, 3],
    );
    // What is retired is not readable, whatever was counted.
    world.redis.entries.set(`usage:${uid}`, { value: "of somebody else", until: Number.POSITIVE_INFINITY });
    assert.equal((await keysOf(world, "blue", admin)).counted, undefined);
    const refused: readonly (readonly [usage: object, why: RegExp])[] = [
      [{ countedAt: undefined }, /counted_at: is missing/],
      [{ countedAt: new Date(Date.now() - 90_000_000).toISOString() }, /must be within the last 24 hours/],
      [{ countedAt: new Date(Date.now() + 600_000).toISOString() }, /must be within the last 24 hours/],
      [{ cluster: "red" }, /there is no cluster "red", or it is none of yours/],
      [{ uses: [use(0, first.keyId)] }, /version: must be 1 or more/],
    ];
    for (const [usage, why] of refused) assert.match((await report(usage)).message, why);
    world.redis.isAway = true;
    assert.match((await report({})).message, /^Redis does not take the count/);
    assert.match((await keysOf(world, "blue", admin)).incomplete ?? "", /cannot be read|does not answer|is away/);
  });

  test("what nothing needs is retired, and comes back", async (t) => {
    const { world, admin, second, retire, seen, observe } = await rotated(t);
    observe(seen(second.keyId, 1000));
    const trial = await retire({ nodes: [{ cluster: "blue", count: 1 }], dryRun: true });
    assert.deepEqual([trial.json["fromVersion"], trial.json["toVersion"]], [1, 1], trial.message);
    assert.equal((await keysOf(world, "blue", admin)).minDecryptionVersion, 1);
    const done = await retire({ nodes: [{ cluster: "blue", count: 1 }] });
    assert.equal(done.code, "ok", done.message);
    const keys = await keysOf(world, "blue", admin);
    assert.equal(keys.minDecryptionVersion, 2);
    // Ages may have gone on by a second between the two.
    const ageless = (key: unknown): unknown =>
      JSON.parse(JSON.stringify(key, (name, value: unknown) => (name === "ageSeconds" ? undefined : value)));
    assert.deepEqual(ageless(keys), ageless(done.json["keys"]));
    const again = await retire({});
    assert.deepEqual([again.code, again.json["toVersion"]], ["ok", undefined], "nothing is left to do");
    const back = await ok(world, "UnretireKey", { name: "blue", fromVersion: 1, reason }, admin);
    assert.equal(back["changed"], true);
    assert.equal((await keysOf(world, "blue", admin)).minDecryptionVersion, 1);
  });

  test("the registry's expected nodes count where the caller says none, and more than the caller's fewer", async (t) => {
    const { world, admin, second, retire, seen, observe } = await rotated(t);
    observe(seen(second.keyId, 1000));
    assert.match((await retire({})).message, /how many control-plane nodes has cluster blue\?/);
    await ok(world, "UpdateCluster", { name: "blue", expectedNodes: ["cp-1", "cp-2"], reason }, admin);
    for (const nodes of [[], [{ cluster: "blue", count: 1 }]])
      assert.match((await retire({ nodes })).message, /1 of 2 nodes of blue have asked for Status/);
    await ok(world, "UpdateCluster", { name: "blue", expectedNodes: ["cp-1"], reason }, admin);
    assert.equal((await retire({ dryRun: true })).code, "ok");
  });

  test("what is still needed, or not known, is not retired, with every reason", async (t) => {
    const { world, admin, first, second, use, usage, retire, seen, observe } = await rotated(t);
    const before = world.keys();
    const nodes = [{ cluster: "blue", count: 1 }];
    const day = new Date(Date.now() - 25 * 3_600_000).toISOString();
    observe(seen(second.keyId, 1000));
    const rows: readonly (readonly [message: object, why: RegExp])[] = [
      [{ usage: [], nodes }, /none of its etcds was counted: add --etcd blue=URL/],
      [
        { usage: usage(use(1, first.keyId), use(2, second.keyId)), nodes },
        /3 objects of cluster blue still need version 1/,
      ],
      [{ usage: usage(), nodes }, /holds no object that Claviger encrypted for it/],
      [{ usage: [{ ...usage(use(2, second.keyId))[0], countedAt: day }], nodes }, /was not counted within the last 24/],
      [
        { usage: [{ ...usage(use(2, second.keyId))[0], fromSnapshot: true }], nodes },
        /was counted in a snapshot, which lacks/,
      ],
      [
        { usage: [{ ...usage(use(2, second.keyId))[0], damaged: ["/registry/x"], damagedCount: 4 }], nodes },
        /4 values of cluster blue cannot be read, e\.g\. \/registry\/x/,
      ],
      [
        {
          usage: [{ ...usage(use(2, second.keyId))[0], foreign: [{ provider: "old", count: 2, examples: ["k"] }] }],
          nodes,
        },
        /2 objects of cluster blue that KMS plugin old encrypted do not tell/,
      ],
      [{ beforeVersion: 3, nodes }, /version 2 encrypts: it and what is newer cannot be retired/],
    ];
    for (const [message, why] of rows) {
      const reply = await retire(message);
      assert.equal(reply.code, "failed_precondition", JSON.stringify(message));
      assert.match(reply.message, /^the versions below \d of main:transit\/blue are not retired:\n {2}- /);
      assert.match(reply.message, why);
    }
    observe(seen(second.keyId, 1000), seen(first.keyId, 2000, "decrypted"));
    assert.match((await retire({ nodes })).message, /node cp-1 of blue decrypted under an earlier key_id 2 s ago/);
    assert.match((await retire({ nodesChecked: true })).message, /decrypted under an earlier key_id/);
    world.observe = () => Promise.resolve({ kind: "unknown", why: "Redis does not answer" });
    assert.match((await retire({ nodes })).message, /without Redis it is not known which key_id the nodes/);
    assert.equal(world.keys(), before);
    const blind = await ok(
      world,
      "RetireKey",
      { name: "blue", usage: usage(use(2, second.keyId)), nodesChecked: true, reason },
      admin,
    );
    assert.match(String(blind["unknown"]), /whether a node still decrypts .* \(Redis does not answer\)/);
  });

  test("a node that decrypts under an earlier key_id meanwhile brings the version back at once", async (t) => {
    const { world, admin, first, second, retire, seen } = await rotated(t);
    let looks = 0;
    world.observe = () => {
      looks += 1;
      const late = looks === 1 ? [] : [seen(first.keyId, 0, "decrypted")];
      return Promise.resolve({ kind: "known", entries: new Map([["blue", [seen(second.keyId, 1000), ...late]]]) });
    };
    const reply = await retire({ nodes: [{ cluster: "blue", count: 1 }] });
    assert.match(reply.message, /were retired, and are back:\n {2}- node cp-1 of blue decrypted under an earlier/);
    assert.equal(looks, 2);
    assert.equal((await keysOf(world, "blue", admin)).minDecryptionVersion, 1);
  });

  test("a retirement, and its end, can take a second administrator, and hold what was asked for", async (t) => {
    const { world, admin, second, use, usage, retire, seen, observe } = await rotated(t, {
      needing: ["retire-key", "unretire-key"],
    });
    const anna = await pemOf(issueOperator({ ca: world.ca, name: "anna" }));
    observe(seen(second.keyId, 1000));
    const idOf = ({ message }: { readonly message: string }): string => / approve (\S+)$/.exec(message)?.[1] ?? "none";
    const nodes = [{ cluster: "blue", count: 1 }];
    const asked = await retire({ nodes });
    assert.equal(asked.code, "failed_precondition");
    assert.match(asked.message, /^this takes a second administrator, and waits for one until/);
    assert.equal((await keysOf(world, "blue", admin)).minDecryptionVersion, 1);
    assert.equal((await world.call("ApproveChange", { id: idOf(asked) }, admin)).code, "permission_denied");
    assert.equal((await retire({ nodes, dryRun: true })).code, "ok", "to look takes nobody else");
    await ok(world, "ApproveChange", { id: idOf(asked) }, anna);
    assert.equal((await keysOf(world, "blue", admin)).minDecryptionVersion, 2);
    const back = await world.call("UnretireKey", { name: "blue", fromVersion: 1, reason }, admin);
    assert.match(back.message, /^this takes a second administrator/);
    await ok(world, "ApproveChange", { id: idOf(back) }, anna);
    assert.equal((await keysOf(world, "blue", admin)).minDecryptionVersion, 1);
    // What has come up meanwhile is in the way of what was approved, too.
    const late = await retire({ nodes, usage: usage(use(2, second.keyId)), reason: "again" });
    observe(seen(second.keyId, 1000), seen("clv1.other", 400_000));
    await ok(world, "UpdateCluster", { name: "blue", expectedNodes: ["cp-1", "cp-2"], reason }, admin);
    const approved = await world.call("ApproveChange", { id: idOf(late) }, anna);
    assert.match(approved.message, /blue has changed since this was asked for; ask for it again/);
    assert.equal((await keysOf(world, "blue", admin)).minDecryptionVersion, 1);
  });

  test("what is wrong with a request is said, and no key is changed", async (t) => {
    const { world, callers, admin, use, usage, second } = await rotated(t);
    const good = { name: "blue", usage: usage(use(2, second.keyId)), reason };
    const rows: readonly (readonly [method: string, message: object, why: RegExp])[] = [
      ["GetClusterKeys", { name: "none" }, /there is no cluster "none"/],
      ["ListKeys", { pageSize: 201 }, /page_size: must be at most 200/],
      ["ListKeys", { selector: "a in b" }, /selector: "a in b" is no selector/],
      ["RotateKey", { name: "blue" }, /reason: say why/],
      ["RotateKey", { name: "blue", aboveVersion: 2_000_000, reason }, /above_version: must be at most 1000000/],
      [
        "RotateKey",
        { name: "blue", aboveVersion: 500, reason },
        /more than 100 below 500; raise the cluster's generation/,
      ],
      ["PromoteKey", { name: "blue" }, /reason: say why/],
      ["RetireKey", { ...good, reason: "" }, /reason: say why/],
      ["RetireKey", { ...good, quietSeconds: 10 }, /quiet_seconds: must be 300 to 604800/],
      ["RetireKey", { ...good, usage: [{ cluster: "red" }] }, /usage: cluster red does not use the key of blue/],
      ["RetireKey", { ...good, usage: [{ cluster: "blue" }] }, /usage of blue: counted_at is missing/],
      ["RetireKey", { ...good, usage: usage({ ...use(2, second.keyId), clusterUid: "x" }) }, /cluster_uid: must be/],
      ["RetireKey", { ...good, usage: usage(use(2, "x")) }, /key_id: must be/],
      ["RetireKey", { ...good, usage: usage(use(0, second.keyId)) }, /version: must be 1 or more/],
      ["UnretireKey", { name: "blue", fromVersion: 1 }, /reason: say why/],
      ["UnretireKey", { name: "blue", reason }, /from_version: must be 1 or more/],
      ["UnretireKey", { name: "blue", fromVersion: 9, reason }, /transit\/blue has no version 9; its latest is 2/],
    ];
    const before = world.keys();
    for (const [method, message, why] of rows) {
      const reply = await world.call(method, message, admin);
      assert.ok(!["ok", "internal"].includes(reply.code), `${method} ${JSON.stringify(message)}: ${reply.code}`);
      assert.match(reply.message, why);
    }
    // A key that is also another team's is not one team's to rotate.
    const shared = {
      name: "navy",
      labels: { team: "red" },
      keys: [{ backend: "main", mount: "transit", key: "blue" }],
    };
    await ok(world, "AddCluster", { cluster: shared, reason }, admin);
    for (const method of ["RotateKey", "PromoteKey"]) {
      const reply = await world.call(method, { name: "blue", reason }, callers["operator of blue"]);
      assert.equal(reply.code, "permission_denied");
      assert.match(reply.message, /a key of blue is also that of a cluster that is none of yours/);
    }
    assert.equal(world.keys(), before);
  });
});
