// Who may call what of FleetService: every method, every kind of caller. What is refused touches nothing.
// (docs/architecture.md #control-plane.)
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { Agent } from "node:https";
import { join } from "node:path";
import { suite, test } from "node:test";
import { createCa } from "@claviger/gateway-core/src/pki/authority.ts";
import { FleetService } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import { badTokens, goodTokens } from "./issuer.ts";
import { registryText } from "./registry-text.ts";
import type { Credentials } from "./call.ts";
import { callersOf, startWorld, tokenCallersOf, type World } from "./world.ts";

const people = ["viewer", "operator", "operator of blue", "admin"] as const;
const operators = ["operator", "operator of blue", "admin"] as const;
const nodes = ["node", "revoked node"] as const;

type Row = {
  /** The request; `make` makes one for each call. */
  readonly message?: object;
  readonly make?: (world: World) => Promise<object>;
  /** Who gets an answer; everybody else is refused before anything happens. */
  readonly may: readonly string[];
};

/** Of `blue`, by somebody else than those who call here. */
async function approval(world: World): Promise<object> {
  return { id: await world.ask() };
}

/** Calls a method, or follows a stream until its first message. */
async function ask(
  world: World,
  method: string,
  message: object,
  as: Credentials,
): Promise<{ readonly code: string; readonly message: string }> {
  const { methodKind } = FleetService.methods.find(({ name }) => name === method) ?? {};
  if (methodKind === "unary") return await world.call(method, message, as);
  const stream = world.open(method, message, as);
  return (await stream.next()) === undefined ? await stream.end : { code: "ok", message: "" };
}

/** Changes of `blue`, which is suspended and has a revoked node; a method without a row fails the test below. */
const rows: Readonly<Record<string, Row>> = {
  WhoAmI: { message: {}, may: [...people, ...nodes] },
  GetTrustBundle: { message: {}, may: ["everybody"] },
  ListClusters: { message: {}, may: people },
  GetCluster: { message: { name: "blue" }, may: people },
  AddCluster: {
    message: {
      cluster: { name: "azure", labels: { team: "blue" }, keys: [{ backend: "main", mount: "transit", key: "azure" }] },
      reason: "a test",
      dryRun: true,
    },
    may: operators,
  },
  ImportClusters: {
    message: {
      clusters: [
        {
          name: "azure",
          uid: "01M8CZX875MFSCYTBWR058VXTK",
          labels: { team: "blue" },
          keys: [{ backend: "main", mount: "transit", key: "azure" }],
        },
      ],
      reason: "a test",
      dryRun: true,
    },
    may: operators,
  },
  UpdateCluster: { message: { name: "blue", setLabels: { env: "dev" }, reason: "a test" }, may: operators },
  RemoveCluster: { message: { name: "blue", reason: "a test" }, may: ["admin"] },
  SetClusterState: { message: { name: "blue", state: "suspended", reason: "a test" }, may: operators },
  CreateNodeToken: { message: { cluster: "blue", node: "n-9", reason: "a test" }, may: operators },
  // By its token, which is none here: see enrollment.test.ts.
  EnrollNode: { message: { token: "none" }, may: [] },
  RenewNode: { make: (world) => Promise.resolve({ certificateRequest: world.csr() }), may: ["node"] },
  RevokeNode: { message: { cluster: "blue", node: "n-1", reason: "a test" }, may: operators },
  ListNodes: { message: {}, may: people },
  GetNode: { message: { cluster: "blue", node: "gone" }, may: people },
  ListGateways: { message: {}, may: people },
  GetFleetStatus: { message: {}, may: people },
  ListClusterStatus: { message: {}, may: people },
  GetHistory: { message: { cluster: "blue", period: "hour" }, may: people },
  GetKeyTimeline: { message: { cluster: "blue" }, may: people },
  SearchAudit: { message: {}, may: people },
  GetAuditState: { message: {}, may: people },
  GetClusterKeys: { message: { name: "blue" }, may: people },
  ListKeys: { message: {}, may: people },
  RotateKey: { message: { name: "blue", reason: "a test" }, may: operators },
  PromoteKey: { message: { name: "blue", reason: "a test" }, may: operators },
  // With nothing to do: see keys.test.ts.
  RetireKey: { message: { name: "blue", beforeVersion: 1, reason: "a test" }, may: ["admin"] },
  UnretireKey: { message: { name: "blue", fromVersion: 1, reason: "a test" }, may: ["admin"] },
  ReportKeyUsage: {
    make: () => Promise.resolve({ usage: { cluster: "blue", countedAt: new Date().toISOString() } }),
    may: operators,
  },
  AllowNode: { message: { cluster: "blue", node: "gone", reason: "a test" }, may: ["admin"] },
  ListApprovals: { message: {}, may: people },
  GetApproval: { make: approval, may: people },
  ApproveChange: { make: approval, may: ["admin"] },
  RejectChange: { make: async (world) => ({ ...(await approval(world)), reason: "a test" }), may: ["admin"] },
  GetRevocationList: { message: {}, may: ["viewer", "operator", "admin"] },
  WatchEvents: { message: {}, may: people },
};

/** Certificates that count for nothing, with any method that looks at them. */
const never = [
  "operator without a role",
  "admin of another CA",
  "admin of a foreign trust domain",
  "admin whose certificate has expired",
  "admin with a server's certificate",
  "admin with a second name",
  "somebody with another path",
] as const;

/** Two identities in one call. */
const twice = ["admin with a certificate and a token", "node with a token"] as const;

/** What a caller with a token is like among those with certificates: rows name the latter. */
function kindOf(name: string): string {
  return name.replace(/ by token.*$/, "");
}

suite("access to FleetService", () => {
  test("every method has a row", () => {
    assert.deepEqual(FleetService.methods.map(({ name }) => name).toSorted(), Object.keys(rows).toSorted());
  });

  for (const [method, { message, make, may }] of Object.entries(rows))
    test(`${method} is for ${may.join(", ") || "nobody"}`, async (t) => {
      const world = await startWorld(t);
      const certificates = await callersOf(world.ca);
      assert.deepEqual(
        Object.keys(certificates).toSorted(),
        ["nobody", ...nodes, ...people, ...never].toSorted(),
        "each kind of caller is in the table",
      );
      const tokens = await tokenCallersOf(world.ca);
      const callers = { ...certificates, ...tokens };
      const neverTokens = [...Object.keys(await badTokens()), ...twice];
      assert.deepEqual(Object.keys(tokens).toSorted(), [...Object.keys(await goodTokens()), ...neverTokens].toSorted());
      const given = async (of = world): Promise<object> => (await make?.(of)) ?? message ?? {};
      // Refusals first: then nothing has changed yet.
      const counts = (name: string): boolean => ![...never, ...neverTokens].includes(name);
      const isLet = (name: string): boolean =>
        counts(name) && (may.includes(kindOf(name)) || may.includes("everybody"));
      for (const [name, credentials] of Object.entries(callers).filter(([who]) => !isLet(who))) {
        const { code, message: why } = await ask(world, method, await given(), credentials);
        assert.ok(
          ["unauthenticated", "permission_denied"].includes(code) ||
            (method === "RenewNode" && name === "revoked node" && code === "failed_precondition"),
          `${name}: ${code} ${why}`,
        );
        assert.notEqual(why, "", name);
      }
      assert.equal(world.registry(), registryText);
      assert.equal(world.keys(), "");
      assert.deepEqual(world.signed, []);
      assert.deepEqual(readdirSync(join(world.dir, "tokens")), []);
      assert.deepEqual(
        readdirSync(join(world.dir, "approvals")).filter((file) => file.endsWith(".used.json")),
        [],
      );
      assert.equal(world.records.filter(({ outcome }) => outcome === "ok").length, 0);
      for (const [name, credentials] of Object.entries(certificates).filter(([who]) => isLet(who))) {
        const { code, message: why } = await ask(world, method, await given(), credentials);
        assert.equal(code, "ok", `${name}: ${why}`);
      }
      const letIn = Object.keys(tokens).filter(isLet);
      assert.equal(world.records.length, Object.keys(callers).length - letIn.length, "each call leaves a record");
      // Whoever comes with a token may what the role may, on a registry that nobody has changed.
      for (const name of letIn) {
        const another = await startWorld(t);
        const { code, message: why } = await ask(another, method, await given(another), tokens[name]);
        assert.equal(code, "ok", `${name}: ${why}`);
        assert.match(another.records.at(-1)?.operator ?? "", /^oidc:corp:\w+$/);
      }
    });

  test("what was closed is opened by an administrator", async (t) => {
    const world = await startWorld(t);
    const callers = await callersOf(world.ca);
    const message = { name: "blue", state: "active", reason: "a test" };
    // Decrypting again is half of it.
    for (const state of ["active", "decrypt-only"])
      for (const name of operators.filter((who) => who !== "admin")) {
        const { code, message: why } = await world.call("SetClusterState", { ...message, state }, callers[name]);
        assert.equal(code, "permission_denied");
        assert.match(why, /this takes the role admin; \w+ is operator/);
      }
    assert.equal(world.registry(), registryText);
    assert.equal((await world.call("SetClusterState", message, callers["admin"])).code, "ok");
    assert.match(world.registry(), /generation: 1\n {4}state: active/);
  });

  test("a CA that is trusted no longer ends what its certificates may do, on open connections too", async (t) => {
    const world = await startWorld(t);
    const { admin } = await callersOf(world.ca);
    const agent = new Agent({ keepAlive: true });
    t.after(() => agent.destroy());
    assert.equal((await world.call("WhoAmI", {}, admin, agent)).code, "ok");
    world.trust(await createCa({ trustDomain: "fleet.test" }));
    for (const attempt of [1, 2]) {
      const { code, message, isReused } = await world.call("WhoAmI", {}, admin, agent);
      assert.ok(isReused, `attempt ${attempt} comes over the same connection`);
      assert.equal(code, "unauthenticated");
      assert.match(message, /signed by none of the trusted CAs/);
    }
    world.trust(world.ca);
    const again = await world.call("WhoAmI", {}, admin, agent);
    assert.deepEqual([again.code, again.isReused], ["ok", true]);
  });

  test("a cluster that a role is not for is not there", async (t) => {
    const world = await startWorld(t);
    const bob = (await callersOf(world.ca))["operator of blue"];
    const list = await world.call("ListClusters", {}, bob);
    assert.deepEqual(
      (list.json["clusters"] as readonly { readonly name: string }[]).map(({ name }) => name),
      ["blue"],
    );
    const changes = {
      GetCluster: { name: "red" },
      SetClusterState: { name: "red", state: "suspended", reason: "a test" },
      CreateNodeToken: { cluster: "red", node: "n-1", reason: "a test" },
      RevokeNode: { cluster: "red", node: "n-1", reason: "a test" },
      ListNodes: { cluster: "red" },
      GetNode: { cluster: "red", node: "n-1" },
      GetHistory: { cluster: "red", period: "hour" },
      GetKeyTimeline: { cluster: "red" },
    };
    for (const [method, message] of Object.entries(changes)) {
      const known = await world.call(method, message, bob);
      const unknown = await world.call(
        method,
        JSON.parse(JSON.stringify(message).replace('"red"', '"pink"')) as object,
        bob,
      );
      assert.equal(known.code, "not_found");
      assert.equal(known.message.replaceAll("red", "pink"), unknown.message);
    }
    assert.equal(world.registry(), registryText);
  });

  test("changes say why, and what is wrong with a request is said", async (t) => {
    const world = await startWorld(t);
    const { admin } = await callersOf(world.ca);
    const wrong: readonly (readonly [method: string, message: object, why: RegExp])[] = [
      ["SetClusterState", { name: "blue", state: "active" }, /reason: say why/],
      [
        "SetClusterState",
        { name: "blue", state: "asleep", reason: "x" },
        /state: must be one of active, decrypt-only, suspended/,
      ],
      ["CreateNodeToken", { cluster: "blue", node: "N!", reason: "x" }, /node: must be a lower-case DNS name/],
      [
        "CreateNodeToken",
        { cluster: "blue", node: "n", ttlSeconds: 5, reason: "x" },
        /ttl_seconds: must be 60 to 604800/,
      ],
      ["CreateNodeToken", { cluster: "blue", node: "gone", reason: "x" }, /blue\/gone is revoked/],
      ["RevokeNode", { cluster: "blue", reason: "x" }, /give a node, or serial numbers/],
      ["RevokeNode", { cluster: "blue", node: "n", serials: ["zz"], reason: "x" }, /one of the two/],
      ["RevokeNode", { cluster: "blue", serials: ["zz"], reason: "x" }, /serials: must be hexadecimal/],
      ["ListClusters", { pageSize: 5000 }, /page_size: must be at most 1000/],
      ["GetCluster", { name: "../../etc" }, /there is no cluster/],
      ["ListNodes", { pageSize: 5000 }, /page_size: must be at most 1000/],
      ["ListNodes", { cluster: "pink" }, /there is no cluster "pink"/],
      ["ListNodes", { conditions: ["well"] }, /conditions: must be among ok, outage, not_seen, missing/],
      ["ListNodes", { phases: [4] }, /phases: must be 0 to 3/],
      ["GetNode", { cluster: "blue", node: "N!" }, /node: must be a lower-case DNS name/],
      ["GetNode", { cluster: "pink", node: "n" }, /there is no cluster "pink"/],
      [
        "GetNode",
        { cluster: "blue", node: "n-77" },
        /the record of blue does not name n-77, and no gateway has seen it/,
      ],
      ["ListClusterStatus", { pageSize: 5000 }, /page_size: must be at most 1000/],
      ["GetHistory", { period: "year" }, /period: must be hour or month/],
      [
        "GetHistory",
        { period: "hour", cluster: "blue", gateway: "gateway-1:8443" },
        /a cluster or a gateway, not both/,
      ],
      ["GetHistory", { period: "hour", gateway: "a/b" }, /gateway: must be the name of a gateway/],
      ["SearchAudit", { pageSize: 501 }, /page_size: must be at most 500/],
      ["SearchAudit", { outcomes: ["well"] }, /outcomes: must be among ok, denied, invalid, failed/],
      ["SearchAudit", { pageToken: "x" }, /page_token: is none of this method/],
      ["GetFleetStatus", { attentionSize: 1001 }, /attention_size: must be at most 1000/],
    ];
    for (const [method, message, why] of wrong) {
      const reply = await world.call(method, message, admin);
      assert.notEqual(reply.code, "ok", method);
      assert.match(reply.message, why);
    }
    assert.equal(world.registry(), registryText);
  });

  test("a body that is no message is its caller's fault, in whatever form", async (t) => {
    const { call, records } = await startWorld(t);
    const proto = { "content-type": "application/proto" };
    for (const [body, given] of [
      [Buffer.from("ff", "hex"), proto],
      [Buffer.from("0a05", "hex"), proto],
      [Buffer.from("0a"), { ...proto, "content-encoding": "gzip" }],
      [Buffer.from("{"), {}],
      [Buffer.from("[1]"), {}],
    ] as const) {
      const { status, code } = await call("GetTrustBundle", body, undefined, undefined, given);
      assert.deepEqual([status, code], [400, "invalid_argument"], body.toString("hex"));
    }
    assert.deepEqual(
      records.map(({ method, outcome, operator }) => [method, outcome, operator]),
      Array.from({ length: 5 }, () => ["getTrustBundle", "invalid", undefined]),
      "no method was called, and each leaves a record",
    );
    assert.equal((await call("GetTrustBundle", {}, undefined)).status, 200);
  });

  test("clusters come in pages, by name and by label", async (t) => {
    const world = await startWorld(t);
    const { viewer } = await callersOf(world.ca);
    const names = ({ json }: { readonly json: Readonly<Record<string, unknown>> }) =>
      ((json["clusters"] ?? []) as readonly { readonly name: string }[]).map(({ name }) => name);
    const first = await world.call("ListClusters", { pageSize: 1 }, viewer);
    assert.deepEqual(names(first), ["blue"]);
    const second = await world.call("ListClusters", { pageSize: 1, pageToken: first.json["nextPageToken"] }, viewer);
    assert.deepEqual(names(second), ["red"]);
    assert.equal(second.json["nextPageToken"], undefined);
    assert.deepEqual(names(await world.call("ListClusters", { selector: "team=red" }, viewer)), ["red"]);
  });
});
