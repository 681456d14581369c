// The two-person rule, tried by one who is alone: by every way that the service offers.
// (docs/control-plane.md, docs/architecture.md #control-plane.)
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test, type TestContext } from "node:test";
import { issueOperator } from "@claviger/gateway-core/src/pki/authority.ts";
import { createOnceDocuments, openOnceDirectory } from "../../../../gateway/fleet/src/once-store.ts";
import { createPeople } from "../../../../gateway/fleet/src/approvals/people.ts";
import { createStanding } from "../../../../gateway/fleet/src/approvals/standing.ts";
import { createFakeDocuments } from "../core/registry/fakes.ts";
import { registryText } from "./registry-text.ts";
import type { Credentials, Reply } from "./call.ts";
import { pemOf, startWorld, type World, type WorldOptions } from "./world.ts";

const all = ["resume", "allow-node", "expect-node", "remove-cluster"] as const;
const resume = { name: "blue", state: "active", reason: "the incident is over" };

type Cast = World & {
  readonly as: (name: string) => Promise<Credentials>;
  readonly by: (name: string, method: string, message: object) => Promise<Reply>;
  /** Has somebody ask for a change, which waits. Resolves with the id of its approval. */
  readonly asked: (name: string, method: string, message: object) => Promise<string>;
};

async function start(t: TestContext, options: WorldOptions = {}): Promise<Cast> {
  const world = await startWorld(t, {
    needing: all,
    ...options,
    operators: {
      benn: { role: "admin", clusters: { matchLabels: { team: "blue" } } },
      rita: { role: "admin", clusters: { matchLabels: { team: "red" } } },
      ...options.operators,
    },
  });
  const as: Cast["as"] = (name) => pemOf(issueOperator({ ca: world.ca, name }));
  const by: Cast["by"] = async (name, method, message) => await world.call(method, message, await as(name));
  return {
    ...world,
    as,
    by,
    async asked(name, method, message) {
      const { code, message: why } = await by(name, method, message);
      assert.equal(code, "failed_precondition", why);
      const [, id = ""] =
        /^this takes a second administrator, and waits for one until \S+Z: claviger approvals approve (\S+)$/.exec(
          why,
        ) ?? [];
      assert.notEqual(id, "", why);
      return id;
    },
  };
}

const approval = ({ json }: Reply): Readonly<Record<string, unknown>> =>
  json["approval"] as Readonly<Record<string, unknown>>;

suite("the two-person rule", () => {
  test("a change waits, is made when another administrator approves it, and names both", async (t) => {
    const world = await start(t);
    const id = await world.asked("ada", "SetClusterState", resume);
    assert.equal(world.registry(), registryText);
    const shown = approval(await world.by("vera", "GetApproval", { id }));
    assert.deepEqual(
      { ...shown, requestedAt: "", expiresAt: "" },
      {
        id,
        state: "pending",
        kinds: ["resume"],
        method: "SetClusterState",
        request: JSON.stringify(resume),
        targets: [{ cluster: "blue", uid: "01M8CZX875MFSCYTBWR058VXTG" }],
        requestedBy: "ada",
        requestedAt: "",
        expiresAt: "",
        reason: "the incident is over",
      },
    );
    const done = await world.by("anna", "ApproveChange", { id });
    assert.equal(done.code, "ok", done.message);
    assert.match(world.registry(), /generation: 1\n {4}state: active/);
    const { state, decidedBy } = approval(done);
    assert.deepEqual([state, decidedBy], ["approved", "anna"]);
    const [asked, decided] = world.records.filter(
      ({ method }) => method.endsWith("State") || method === "approveChange",
    );
    assert.equal(asked?.approval, id);
    assert.deepEqual([asked.operator, asked.outcome], ["ada", "invalid"]);
    const { operator, requestedBy, change, target, because, outcome, approval: named } = decided ?? {};
    assert.deepEqual(
      { operator, requestedBy, change, target, because, outcome, named },
      {
        operator: "anna",
        requestedBy: "ada",
        change: "setClusterState",
        target: "blue",
        because: "the incident is over",
        outcome: "ok",
        named: id,
      },
    );
  });

  test("what is wrong is said at once, and does not wait", async (t) => {
    const world = await start(t);
    const wrong: readonly (readonly [who: string, message: object, code: string])[] = [
      ["olga", resume, "permission_denied"],
      ["rita", resume, "not_found"],
      ["ada", { ...resume, reason: "" }, "invalid_argument"],
      ["ada", { ...resume, state: "asleep" }, "invalid_argument"],
    ];
    for (const [who, message, code] of wrong)
      assert.equal((await world.by(who, "SetClusterState", message)).code, code, JSON.stringify(message));
    // What closes, or changes nothing, takes one.
    const suspended = { name: "red", state: "suspended", reason: "x" };
    for (const message of [{ ...resume, state: "suspended" }, suspended, suspended])
      assert.equal((await world.by("ada", "SetClusterState", message)).code, "ok");
    assert.deepEqual(readdirSync(join(world.dir, "approvals")), []);
  });

  test("nobody approves their own, by another certificate of the name or by another name of theirs", async (t) => {
    const world = await start(t, { people: { ann: ["ada", "anna"] } });
    const id = await world.asked("ada", "SetClusterState", resume);
    for (const name of ["ada", "anna"]) {
      // Each time another certificate, with another key.
      const { code, message } = await world.by(name, "ApproveChange", { id });
      assert.equal(code, "permission_denied");
      assert.match(message, /^ada asked for this; it takes another administrator$/);
    }
    assert.equal(world.registry(), registryText);
    assert.equal((await world.by("benn", "ApproveChange", { id })).code, "ok");
  });

  test("a name of a token and that of a certificate are the same person", () => {
    const personOf = createPeople({ eve: ["eve", "oidc:corp:e.adams@example.com"] });
    assert.equal(personOf("oidc:corp:ada"), personOf("ada"));
    assert.equal(personOf("oidc:corp:ada"), personOf("oidc:other:ADA"));
    assert.equal(personOf("oidc:corp:e.adams@example.com"), personOf("eve"));
    assert.notEqual(personOf("ada"), personOf("anna"));
    assert.notEqual(personOf("eve"), personOf("oidc:corp:eva"));
  });

  test("whoever asked with a token has the role that the settings give them now, by name or by group", () => {
    const admin = { role: "admin" } as const;
    const issuer = { operators: { dora: admin }, groups: { admins: admin, staff: { role: "viewer" } } } as const;
    const standingOf = createStanding(() => ({
      operators: { ada: admin } as never,
      oidc: { corp: issuer } as never,
    }));
    const roleOf = (operator: string, groups?: readonly string[]) =>
      standingOf({ operator: operator as never, groups }, 0)?.role;
    assert.equal(roleOf("ada"), "admin");
    for (const none of ["anna", "constructor"]) assert.equal(roleOf(none), undefined);
    assert.equal(roleOf("oidc:corp:dora"), "admin");
    assert.equal(roleOf("oidc:other:dora"), undefined);
    assert.equal(roleOf("oidc:corp:ada"), undefined);
    assert.equal(roleOf("oidc:corp:eve", ["staff", "admins"]), "admin");
    assert.equal(roleOf("oidc:corp:eve", ["toString", "gone"]), undefined);
    assert.equal(roleOf("oidc:corp:constructor"), undefined);
  });

  test("no other method opens what was closed, and no step halfway", async (t) => {
    const world = await start(t);
    const ways: readonly (readonly [method: string, message: object, kinds: readonly string[]])[] = [
      ["SetClusterState", { ...resume, state: "decrypt-only" }, ["resume"]],
      ["AllowNode", { cluster: "blue", node: "gone", reason: "x" }, ["allow-node"]],
    ];
    for (const [method, message, kinds] of ways) {
      const id = await world.asked("ada", method, message);
      assert.deepEqual(approval(await world.by("ada", "GetApproval", { id }))["kinds"], kinds);
    }
    assert.equal(world.registry(), registryText);
  });

  test("the second one must be an administrator, of all clusters that are changed", async (t) => {
    const world = await start(t);
    const id = await world.asked("ada", "SetClusterState", resume);
    const codes = { vera: "permission_denied", olga: "permission_denied", rita: "not_found" };
    for (const [name, code] of Object.entries(codes))
      assert.equal((await world.by(name, "ApproveChange", { id })).code, code, name);
    // To whom it is not, it is not there.
    const none = await world.by("rita", "GetApproval", { id: id.replace(/.$/, (last) => (last === "0" ? "1" : "0")) });
    const hidden = await world.by("rita", "GetApproval", { id });
    assert.deepEqual([hidden.code, hidden.message.slice(0, 20)], ["not_found", none.message.slice(0, 20)]);
    assert.deepEqual((await world.by("rita", "ListApprovals", {})).json, {});
    assert.equal(((await world.by("benn", "ListApprovals", {})).json["approvals"] as unknown[]).length, 1);
    assert.equal(world.registry(), registryText);
    assert.equal((await world.by("benn", "ApproveChange", { id })).code, "ok");
  });

  test("it is made over the record that it was asked for, or not at all", async (t) => {
    const world = await start(t);
    const id = await world.asked("ada", "SetClusterState", resume);
    assert.equal((await world.by("olga", "RevokeNode", { cluster: "blue", node: "n-1", reason: "x" })).code, "ok");
    const before = world.registry();
    const { code, message } = await world.by("anna", "ApproveChange", { id });
    assert.equal(code, "failed_precondition");
    assert.match(message, /^blue has changed since this was asked for; ask for it again$/);
    assert.equal(world.registry(), before);
  });

  test("nor over another cluster of that name", async (t) => {
    const world = await start(t);
    const id = await world.asked("ada", "SetClusterState", resume);
    world.edit((text) => text.replace("01M8CZX875MFSCYTBWR058VXTG", "01M8CZX875MFSCYTBWR058VXTJ"));
    const before = world.registry();
    assert.match((await world.by("anna", "ApproveChange", { id })).message, /^blue has changed since/);
    assert.equal(world.registry(), before);
  });

  test("whoever asked must have the role still", async (t) => {
    const world = await start(t);
    const id = await world.asked("ada", "SetClusterState", resume);
    world.dismiss("ada");
    const { code, message } = await world.by("anna", "ApproveChange", { id });
    assert.equal(code, "failed_precondition");
    assert.match(message, /^ada, who asked for this, has no role any more$/);
    assert.equal(world.registry(), registryText);
  });

  test("a request that was altered in the store is made in no form", async (t) => {
    const world = await start(t);
    const id = await world.asked("ada", "AllowNode", { cluster: "blue", node: "gone", reason: "x" });
    const file = join(world.dir, "approvals", `${id}.json`);
    const text = readFileSync(file, "utf8");
    for (const [from, to] of [
      ["gone", "other"],
      ['"requestedBy":"ada"', '"requestedBy":"anna"'],
      ["allow-node", "resume"],
      ['"expiresAt":1', '"expiresAt":9'],
    ] as const) {
      assert.ok(text.includes(from));
      writeFileSync(file, text.replace(from, to));
      assert.equal((await world.by("anna", "ApproveChange", { id })).code, "not_found", from);
      assert.deepEqual((await world.by("anna", "ListApprovals", {})).json, {});
    }
    assert.equal(world.registry(), registryText);
    writeFileSync(file, text);
    assert.equal((await world.by("anna", "ApproveChange", { id })).code, "ok");
  });

  test("of many that approve at the same time one does, and nobody again", async (t) => {
    const world = await start(t);
    const id = await world.asked("ada", "SetClusterState", resume);
    const replies = await Promise.all(
      ["anna", "benn", "anna", "benn", "anna", "benn"].map((name) => world.by(name, "ApproveChange", { id })),
    );
    assert.equal(replies.filter(({ code }) => code === "ok").length, 1);
    for (const { code, message } of replies)
      if (code !== "ok") {
        assert.equal(code, "failed_precondition");
        assert.match(message, /was decided by somebody else at the same time|was approved by|has changed since/);
      }
    const after = world.registry();
    assert.equal((await world.by("olga", "SetClusterState", { ...resume, state: "suspended" })).code, "ok");
    const again = await world.by("anna", "ApproveChange", { id });
    assert.match(again.message, /was approved by (?:anna|benn); a change is made once: ask for it again$/);
    assert.notEqual(world.registry(), after);
    assert.match(world.registry(), /state: suspended/);
  });

  test("it is rejected by whoever asked, or by an administrator, and expires", async (t) => {
    let now = Date.now();
    const world = await start(t, { now: () => now });
    const own = await world.asked("ada", "SetClusterState", resume);
    assert.equal((await world.by("olga", "RejectChange", { id: own, reason: "x" })).code, "permission_denied");
    assert.equal((await world.by("ada", "RejectChange", { id: own, reason: "" })).code, "invalid_argument");
    assert.equal((await world.by("ada", "RejectChange", { id: own, reason: "not yet" })).code, "ok");
    assert.match((await world.by("anna", "ApproveChange", { id: own })).message, /was rejected by ada/);
    const other = await world.asked("ada", "SetClusterState", resume);
    assert.notEqual(other, own);
    assert.equal((await world.by("anna", "RejectChange", { id: other, reason: "no" })).code, "ok");
    const late = await world.asked("ada", "SetClusterState", resume);
    now += 3_600_000;
    assert.match((await world.by("anna", "ApproveChange", { id: late })).message, /has expired/);
    assert.deepEqual((await world.by("anna", "ListApprovals", {})).json, {});
    const listed = (await world.by("anna", "ListApprovals", { all: true })).json["approvals"] as readonly {
      readonly id: string;
      readonly state: string;
    }[];
    assert.deepEqual(
      new Map(listed.map(({ id, state }) => [id, state])),
      new Map([
        [late, "expired"],
        [other, "rejected"],
        [own, "rejected"],
      ]),
    );
    assert.equal(world.registry(), registryText);
  });

  test("asking again is the same, and one operator has so many", async (t) => {
    const world = await start(t);
    const id = await world.asked("ada", "SetClusterState", resume);
    assert.equal(await world.asked("ada", "SetClusterState", resume), id);
    for (let i = 1; i < 20; i += 1) await world.asked("ada", "SetClusterState", { ...resume, reason: `reason ${i}` });
    const { code, message } = await world.by("ada", "SetClusterState", { ...resume, reason: "one more" });
    assert.equal(code, "resource_exhausted");
    assert.match(message, /^20 changes of ada wait/);
    await world.asked("anna", "SetClusterState", resume);
  });

  test("without the setting one administrator is enough", async (t) => {
    const world = await start(t, { needing: [] });
    assert.equal((await world.by("ada", "SetClusterState", resume)).code, "ok");
    assert.deepEqual((await world.by("ada", "ListApprovals", {})).json, {});
  });
});

type Entry = { readonly expiresAt: number; readonly usedAt?: number | undefined; readonly by?: string };
const isEntry = (value: unknown): Entry | undefined =>
  typeof value === "object" && value !== null && "expiresAt" in value ? (value as Entry) : undefined;

suite("a store of what can be used once", () => {
  for (const kind of ["directory", "documents"] as const)
    test(`in ${kind}: of ten replicas one uses it`, async (t) => {
      const world = await startWorld(t);
      const below = join(world.dir, "once");
      const documents = createFakeDocuments();
      const open = () =>
        kind === "directory"
          ? openOnceDirectory(below, isEntry)
          : Promise.resolve(createOnceDocuments(documents, { mount: "kv" as never, path: "once" }, isEntry));
      const replicas = await Promise.all(Array.from({ length: 10 }, open));
      const signal = AbortSignal.timeout(5000);
      await replicas[0]?.add("a", { expiresAt: 5 }, signal);
      assert.deepEqual(await replicas[1]?.read("a", signal), { expiresAt: 5 });
      const used = await Promise.all(replicas.map((one, i) => one.use("a", { usedAt: 3, by: `replica ${i}` }, signal)));
      assert.equal(used.filter(Boolean).length, 1);
      const by = `replica ${used.indexOf(true)}`;
      assert.deepEqual(await replicas[2]?.read("a", signal), { expiresAt: 5, usedAt: 3, by });
      await replicas[used.indexOf(true)]?.amend("a", { by: "it" }, signal);
      assert.deepEqual(await replicas[3]?.read("a", signal), { expiresAt: 5, usedAt: 3, by: "it" });
      assert.deepEqual(await replicas[4]?.list(signal), ["a"]);
      assert.equal(await replicas[5]?.read("b", signal), undefined);
      assert.equal(await replicas[5]?.use("b", { usedAt: 1 }, signal), false);
    });
});
