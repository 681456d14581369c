// What happens in a fleet, as operators follow it: who is told what, how soon, and when it ends.
// (docs/control-plane.md.)
import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { suite, test, type TestContext } from "node:test";
import { createCa, issueOperator } from "@claviger/gateway-core/src/pki/authority.ts";
import { createCertificate } from "@claviger/gateway-core/src/pki/x509.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { createEventHub } from "../../../../gateway/fleet/src/events/hub.ts";
import { createRegistryWatch } from "../../../../gateway/fleet/src/events/registry-watch.ts";
import { createFleetEvents } from "../../../../gateway/fleet/src/events/events.ts";
import type { Operator } from "../../../../gateway/fleet/src/caller.ts";
import type { StreamReader } from "./stream-client.ts";
import type { Credentials } from "./call.ts";
import { gatewayOf, putGateways, putReports, reportOf, well } from "./reports.ts";
import { pemOf, startWorld, type World, type WorldOptions, integrityKey } from "./world.ts";
import type { GatewayReport } from "@claviger/gateway-core/src/redis/gateway-reports.ts";
import type { NodeReport } from "@claviger/gateway-core/src/redis/node-reports.ts";

type Message = Readonly<Record<string, unknown>>;

type Cast = World & {
  readonly as: (name: string) => Promise<Credentials>;
  readonly follow: (name: string, cursor?: string) => Promise<StreamReader>;
};

async function start(t: TestContext, options: WorldOptions = {}): Promise<Cast> {
  const world = await startWorld(t, options);
  const as: Cast["as"] = (name) => pemOf(issueOperator({ ca: world.ca, name }));
  return {
    ...world,
    as,
    follow: async (name, cursor = "") => world.open("WatchEvents", { cursor }, await as(name)),
  };
}

/** The next one that is no heartbeat, nor of another kind than what is looked for, without what differs from run to run. */
async function next(
  stream: StreamReader,
  isWanted = (kind: unknown) => kind !== "attention-changed",
): Promise<Message> {
  for (;;) {
    const message = await stream.next();
    if (message === undefined) throw new Error(`ended: ${JSON.stringify(await stream.end)}`);
    if (message["kind"] === "heartbeat" || !isWanted(message["kind"])) continue;
    assert.match(String(message["cursor"]), /^[0-9a-f]{12}\.\d+$/);
    assert.ok(Math.abs(Date.parse(String(message["at"])) - Date.now()) < 10_000);
    const { cursor: _, at: __, record, ...rest } = message;
    const { state, labels } = (record ?? {}) as { readonly state?: string; readonly labels?: object };
    return { ...rest, ...(state !== undefined && { state }), ...(labels !== undefined && { labels }) };
  }
}

/** Waits for the first message. */
async function begun(stream: StreamReader): Promise<string> {
  const first = await stream.next();
  assert.equal(first?.["kind"], "heartbeat", JSON.stringify(first ?? (await stream.end)));
  return String(first["cursor"]);
}

suite("events of a fleet", () => {
  test("what gateways see of nodes is told: a new one, its phases, that it is lost, and that it is back", async (t) => {
    const world = await start(t);
    const now = Date.now();
    putGateways(world.redis, integrityKey, now - 600_000, []);
    const put = (...reports: readonly NodeReport[]): void =>
      putReports(world.redis, integrityKey, "01M8CZX875MFSCYTBWR058VXTH", reports);
    put(reportOf("n-0", now));
    const [vera, bob] = [await world.follow("vera"), await world.follow("bob")];
    await begun(vera);
    await begun(bob);
    const steps: readonly (readonly [report: Partial<NodeReport>, said: Message])[] = [
      [{}, { kind: "node-first-seen", phase: 0 }],
      [{ shim: { ...well, phase: 2 } }, { kind: "node-phase", phase: 2, previousPhase: 0 }],
      [{ at: now - 600_000, shim: { ...well, phase: 2 } }, { kind: "node-lost" }],
      [
        { at: Date.now(), shim: { ...well, phase: 1 } },
        { kind: "node-back", phase: 1 },
      ],
    ];
    for (const [report, said] of steps) {
      put(reportOf("n-1", now, report));
      assert.deepEqual(await next(vera), { cluster: "red", node: "n-1", ...said });
    }
    // A Redis that was emptied hears of all nodes anew, and one whose Status is refused is not lost.
    world.redis.setHash("nodes:01M8CZX875MFSCYTBWR058VXTH", {});
    putGateways(world.redis, integrityKey, Date.now(), []);
    put(reportOf("n-1", Date.now(), { shim: { ...well, phase: 1 } }), reportOf("n-7", Date.now()));
    const ada = await world.as("ada");
    await world.call("SetClusterState", { name: "red", state: "suspended", reason: "x" }, ada);
    assert.equal((await next(vera))["kind"], "cluster-changed");
    put(reportOf("n-1", now - 600_000));
    await world.call("SetClusterState", { name: "blue", state: "suspended", reason: "x" }, ada);
    await world.call("UpdateCluster", { name: "blue", setLabels: { env: "dev" }, reason: "x" }, ada);
    assert.equal((await next(vera))["cluster"], "blue");
    assert.equal((await next(bob))["cluster"], "blue", "nothing of red before");
  });

  test("that something else needs a person is told, to whoever it is for, and nothing while it stays the same", async (t) => {
    const world = await start(t);
    const gateway = gatewayOf(Date.now() + 600_000);
    const say = (fields: Partial<GatewayReport>): void => {
      putGateways(world.redis, integrityKey, Date.now() - 600_000, [{ ...gateway, at: Date.now(), ...fields }]);
    };
    // As gateways do.
    let last: Partial<GatewayReport> = {};
    const report = (): void => say({ ...last, eventLoop: 0.9 + Math.random() / 100 });
    report();
    const busy = setInterval(report, 50);
    t.after(() => clearInterval(busy));
    const put = (fields: Partial<NodeReport>): void =>
      putReports(world.redis, integrityKey, "01M8CZX875MFSCYTBWR058VXTH", [reportOf("n-0", Date.now(), fields)]);
    put({});
    const [vera, bob] = [await world.follow("vera"), await world.follow("bob")];
    await begun(vera);
    await begun(bob);
    const attention = (stream: StreamReader): Promise<Message> => next(stream, (kind) => kind !== "node-phase");
    put({ shim: { ...well, phase: 2 } });
    assert.deepEqual(await attention(vera), { kind: "attention-changed" });
    put({ shim: { ...well, phase: 0 } });
    assert.deepEqual(await attention(vera), { kind: "attention-changed" });
    const ada = await world.as("ada");
    const label = (team: string): Promise<unknown> =>
      world.call("UpdateCluster", { name: "blue", setLabels: { env: team }, reason: "x" }, ada);
    await label("one");
    for (const stream of [vera, bob])
      assert.equal(
        (await attention(stream))["kind"],
        "cluster-changed",
        "a gateway that is as busy is no news, nor red",
      );
    last = { problems: { redis: "away" } };
    for (const stream of [vera, bob]) assert.deepEqual(await attention(stream), { kind: "attention-changed" });
    last = {};
    for (const stream of [vera, bob]) assert.deepEqual(await attention(stream), { kind: "attention-changed" });
    await label("two");
    for (const stream of [vera, bob]) assert.equal((await attention(stream))["kind"], "cluster-changed");
  });

  test("changes are told with who made them and why, for the clusters of whoever follows", async (t) => {
    const world = await start(t, { needing: ["resume"] });
    const [vera, bob] = [await world.follow("vera"), await world.follow("bob")];
    await begun(vera);
    await begun(bob);
    const ada = await world.as("ada");
    const change = async (method: string, message: object): Promise<Message> =>
      (await world.call(method, { reason: "a test", ...message }, ada)).json;
    await change("RevokeNode", { cluster: "blue", node: "n-1" });
    await change("SetClusterState", { name: "red", state: "suspended" });
    await change("CreateNodeToken", { cluster: "blue", node: "n-2" });
    await change("AllowNode", { cluster: "blue", node: "n-1" });
    await change("RevokeNode", { cluster: "red", serials: ["0A", "b"] });
    const { code, message } = await world.call("SetClusterState", { name: "blue", state: "active", reason: "y" }, ada);
    assert.equal(code, "failed_precondition");
    const approval = message.split(" ").at(-1);
    await world.call("ApproveChange", { id: approval }, await world.as("anna"));
    const by = { operator: "ada", reason: "a test" };
    const blue = { ...by, cluster: "blue", labels: { team: "blue" }, state: "suspended" };
    const red = { ...by, cluster: "red", labels: { team: "red" }, state: "suspended" };
    const expected = [
      { kind: "cluster-changed", ...blue },
      { kind: "node-revoked", ...by, cluster: "blue", node: "n-1" },
      { kind: "cluster-changed", ...red },
      { kind: "token-created", ...by, cluster: "blue", node: "n-2" },
      { kind: "cluster-changed", ...blue },
      { kind: "node-allowed", ...by, cluster: "blue", node: "n-1" },
      { kind: "cluster-changed", ...red },
      { kind: "node-revoked", ...by, cluster: "red", serials: ["A", "B"] },
      { kind: "approval-asked", operator: "ada", reason: "y", cluster: "blue", approval },
      { kind: "cluster-changed", ...blue, reason: "y", state: "active" },
      { kind: "approval-approved", operator: "anna", reason: "y", cluster: "blue", approval },
    ];
    for (const one of expected) assert.deepEqual(await next(vera), one);
    for (const one of expected.filter(({ cluster }) => cluster === "blue")) assert.deepEqual(await next(bob), one);
  });

  test("what others change is told without their names, and a cluster whose labels change comes and goes", async (t) => {
    const world = await start(t);
    const [vera, bob] = [await world.follow("vera"), await world.follow("bob")];
    await begun(vera);
    await begun(bob);
    world.edit((text) => text.replace("labels: { team: blue }", "labels: { team: green }"));
    assert.deepEqual(await next(vera), {
      kind: "cluster-changed",
      cluster: "blue",
      state: "suspended",
      labels: { team: "green" },
    });
    assert.deepEqual(await next(bob), { kind: "cluster-removed", cluster: "blue" });
    world.edit((text) => text.replace("team: green", "team: blue").replace("revoked: [gone]", "revoked: [lost]"));
    assert.equal((await next(bob))["kind"], "cluster-added");
    for (const [kind, node] of [
      ["node-revoked", "lost"],
      ["node-allowed", "gone"],
    ])
      assert.deepEqual(await next(bob), { kind, cluster: "blue", node });
    world.edit((text) => text.slice(0, text.indexOf("  - name: red")));
    for (const kind of ["cluster-changed", "node-revoked", "node-allowed", "cluster-removed"])
      assert.equal((await next(vera))["kind"], kind);
  });

  test("a stream goes on after a cursor, and says so where it cannot", async (t) => {
    const world = await start(t);
    const first = await world.follow("vera");
    const cursor = await begun(first);
    const ada = await world.as("ada");
    for (const node of ["n-1", "n-2"]) await world.call("CreateNodeToken", { cluster: "red", node, reason: "x" }, ada);
    assert.equal((await next(first))["node"], "n-1");
    first.close();
    const again = await world.follow("vera", cursor);
    await begun(again);
    assert.equal((await next(again))["node"], "n-1");
    assert.equal((await next(again))["node"], "n-2");
    for (const unknown of [
      "0123456789ab.0",
      cursor.replace(/\d+$/, "999"),
      "nothing",
      `${cursor}0`.replace(".", ".1"),
    ]) {
      const stream = await world.follow("vera", unknown);
      assert.equal((await stream.next())?.["kind"], "list-again", unknown);
      stream.close();
    }
  });

  test("one operator has five streams, and another one has theirs", async (t) => {
    const world = await start(t);
    const open = [];
    for (let i = 0; i < 5; i += 1) {
      const stream = await world.follow("vera");
      await begun(stream);
      open.push(stream);
    }
    const sixth = await world.follow("vera");
    assert.equal(await sixth.next(), undefined);
    const { code, message } = await sixth.end;
    assert.deepEqual([code, message], ["resource_exhausted", "vera has 5 streams of events; end one of them"]);
    await begun(await world.follow("olga"));
    open[0]?.close();
    // Its end is known to the service when its record is written.
    while (world.records.every(({ cause }) => cause !== "ended by the caller")) await new Promise(setImmediate);
    await begun(await world.follow("vera"));
  });

  test("it ends when the CA is trusted no longer, within two seconds, and leaves two records", async (t) => {
    const world = await start(t);
    const [stream, other] = [await world.follow("vera"), await world.follow("bob")];
    await begun(stream);
    await begun(other);
    const at = performance.now();
    world.trust(await createCa({ trustDomain: "fleet.test" }));
    assert.equal(await stream.next(), undefined);
    const { code, message } = await stream.end;
    assert.equal(code, "unauthenticated");
    assert.match(message, /signed by none of the trusted CAs/);
    assert.equal((await other.next(), await other.end).code, "unauthenticated");
    assert.ok(performance.now() - at < 2000, `${performance.now() - at} ms`);
    const records = world.records.filter(({ method, operator }) => method === "watchEvents" && operator === "vera");
    assert.deepEqual(
      records.map(({ outcome, cause, count }) => [outcome, cause, count]),
      [
        ["ok", "begins", undefined],
        ["denied", "the client certificate is signed by none of the trusted CAs", 1],
      ],
    );
  });

  test("it ends when the certificate expires", async (t) => {
    const world = await start(t);
    const notAfter = new Date(Math.ceil(Date.now() / 1000) * 1000 + 1000);
    const short = await pemOf(
      createCertificate({
        commonName: "x",
        names: { uri: "spiffe://fleet.test/operator/vera" },
        use: "client",
        notBefore: new Date(Date.now() - 60_000),
        notAfter,
        issuer: world.ca,
      }),
    );
    const stream = world.open("WatchEvents", {}, short);
    await begun(stream);
    assert.equal(await stream.next(), undefined);
    const late = Date.now() - notAfter.getTime();
    assert.ok(late >= 0 && late < 2500, `${late} ms after it expired`);
    const { code, message } = await stream.end;
    assert.deepEqual([code, message], ["unauthenticated", "the client certificate has expired"]);
  });

  test("the end of the service ends it with a code that says to come back", async (t) => {
    const world = await start(t);
    const stream = await world.follow("vera");
    await begun(stream);
    await world.close();
    assert.equal(await stream.next(), undefined);
    assert.equal((await stream.end).code, "unavailable");
  });

  test("whoever does not read is ended with a code, and costs nobody else an event", async () => {
    const lists = { keys: [], previousKeys: [], limits: { requestsPerSecond: 1 } };
    const record = { name: "red", uid: "01M8CZX875MFSCYTBWR058VXTH", generation: 0, ...lists };
    const states: ClusterRecord = { ...record, state: "active" } as never;
    const events = createFleetEvents({ read: () => Promise.resolve([states]), size: 10 });
    const viewer = (operator: string) =>
      ({ kind: "operator", operator, clusters: "", mayTouch: () => true }) as never as Operator;
    const { signal } = new AbortController();
    const slow = events.watch(viewer("slow"), "", signal)[Symbol.asyncIterator]();
    const quick = events.watch(viewer("quick"), "", signal)[Symbol.asyncIterator]();
    const read = async (stream: typeof slow) => {
      const result = await stream.next();
      return result.done === true ? undefined : result.value;
    };
    for (const stream of [slow, quick]) assert.equal((await read(stream))?.kind, "heartbeat");
    for (let generation = 1; generation <= 100; generation += 1) {
      events.edited("red" as never, { ...states, generation }, undefined);
      assert.equal((await read(quick))?.record?.generation, generation);
    }
    await assert.rejects(slow.next(), {
      code: "resource_exhausted",
      message: /not read as fast as they happen; list again/,
    });
    await quick.return?.();
    events.close();
  });
});

suite("an edit that is under way while the registry is looked at", () => {
  const record = (generation: number): ClusterRecord =>
    ({ name: "red", uid: "6f9619ff-8b86-d011-b42d-00c04fc964ff", state: "active", generation }) as never;

  test("is told once, with who made it", async (t) => {
    const hub = createEventHub(10);
    let found = [record(1)];
    const looks = new EventEmitter();
    const read = () => {
      looks.emit("look");
      return Promise.resolve(found);
    };
    const watch = createRegistryWatch({ read, hub, lookMs: 1 });
    t.after(() => watch.close());
    await watch.follow();
    const cursor = hub.cursor();
    const ends = watch.begins("red");
    found = [record(2)];
    for (let i = 0; i < 3; i += 1) await once(looks, "look");
    watch.edited("red" as never, record(2), { operator: "ada", because: "a test" });
    ends();
    for (let i = 0; i < 3; i += 1) await once(looks, "look");
    const told = hub.after(cursor).events.map(({ event }) => [event.kind, event.by?.operator]);
    assert.deepEqual(told, [["cluster", "ada"]]);
    found = [record(3)];
    for (let i = 0; i < 3; i += 1) await once(looks, "look");
    assert.equal(hub.after(cursor).events.length, 2, "what somebody else changes is told");
  });
});

suite("the place of a reader in what happened", () => {
  const event = (n: number) =>
    ({ kind: "token-created", at: n, cluster: "red", record: undefined, node: `n-${n}` }) as never;

  test("is kept for as many events as it has room for, and not over a gap", () => {
    const hub = createEventHub(3);
    const start = hub.cursor();
    hub.publish(event(1));
    assert.deepEqual(hub.after(start).events.length, 1);
    assert.equal(hub.after(start).events[0]?.cursor, hub.cursor());
    for (let n = 2; n <= 7; n += 1) hub.publish(event(n));
    assert.equal(hub.after(start).isGap, true);
    assert.equal(hub.after(hub.cursor()).isGap, false);
    const before = hub.cursor();
    hub.forget();
    assert.equal(hub.after(before).isGap, true);
  });

  test("waits for the next one, for a time, or until it is ended", async () => {
    const hub = createEventHub(3);
    const { signal } = new AbortController();
    const waited = hub.wait(hub.cursor(), 60_000, signal);
    hub.publish(event(1));
    await waited;
    await hub.wait(hub.cursor(), 1, signal);
    const ended = new AbortController();
    const other = hub.wait(hub.cursor(), 60_000, ended.signal);
    ended.abort();
    await other;
  });
});
