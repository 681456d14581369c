// Who may do what, at which rate, and what is said to whom; without a connection.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { Identity } from "@claviger/gateway-core/src/identity.ts";
import { createEpochMac } from "@claviger/gateway-core/src/key/epoch-mac.ts";
import type { RegistryStore } from "@claviger/gateway-core/src/registry/port.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { createAdmission, type Operation } from "@claviger/gateway-server/src/kms/admission.ts";
import type { Epoch } from "@claviger/proto/wire/epoch.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { clusterName, nodeName, operatorName } from "@claviger/proto/wire/names.ts";
import { cluster } from "../../fakes.ts";

const certificate = { serial: "0A1B", notBefore: 0, notAfter: Number.POSITIVE_INFINITY };
const node = (
  change: { cluster?: string; node?: string; serial?: string; issuers?: readonly string[] } = {},
): Identity => ({
  kind: "node",
  ...certificate,
  ...change,
  cluster: clusterName.parse(change.cluster ?? "prod"),
  node: nodeName.parse(change.node ?? "cp-1"),
});
const operator: Identity = { kind: "operator", operator: operatorName.parse("ann"), ...certificate };
const operations: readonly Operation[] = ["status", "encrypt", "decrypt", "none"];
/** What whoever has no record may ask in a second, and how many seconds' worth at once. */
const strangersRate = 50;
const burst = 10;

function setUp({
  record,
  serves,
  secret,
  ...store
}: {
  readonly record?: ClusterRecord;
  readonly serves?: (cluster: ClusterRecord) => boolean;
  readonly secret?: Uint8Array;
} & Partial<RegistryStore> = {}) {
  let now = 0;
  const registry: RegistryStore = {
    get: (name) => (record?.name === name ? record : undefined),
    load: () => undefined,
    known: () => [],
    using: () => [],
    version: () => undefined,
    problem: () => undefined,
    refresh: () => Promise.resolve(),
    close: () => {},
    ...store,
  };
  const admission = createAdmission({
    registry,
    ...(serves !== undefined && { serves: () => record !== undefined && serves(record) }),
    epochMac: createEpochMac(() => secret),
    now: () => now,
  });
  const answer = (run: () => unknown): string => {
    try {
      run();
      return "yes";
    } catch (error) {
      assert.ok(error instanceof KmsError, String(error));
      return error.reason;
    }
  };
  return {
    admission,
    pass: (ms: number): void => void (now += ms),
    ask: (identity: Identity, operation: Operation = "encrypt") => answer(() => admission.admit(identity, operation)),
    charge: (calls: number) => answer(() => admission.charge(record ?? cluster(), calls)),
    /** How many of so many have another answer than `overloaded`. */
    admitted: (count: number, identity: Identity): number =>
      Array.from({ length: count }, () => answer(() => admission.admit(identity, "encrypt"))).filter(
        (reason) => reason !== "overloaded",
      ).length,
  };
}

suite("what a caller may do", () => {
  test("follows from the state of its cluster, and a method that does not exist is refused in each", () => {
    for (const [state, expected] of [
      ["active", ["yes", "yes", "yes", "method_unknown"]],
      ["decrypt-only", ["cluster_decrypt_only", "cluster_decrypt_only", "yes", "method_unknown"]],
      ["suspended", ["cluster_suspended", "cluster_suspended", "cluster_suspended", "method_unknown"]],
    ] as const) {
      const { ask } = setUp({ record: cluster({ state }) });
      assert.deepEqual(
        operations.map((operation) => ask(node(), operation)),
        expected,
        state,
      );
    }
  });

  test("is nothing for an operator and for a node of a cluster without a record", () => {
    const { ask } = setUp({ record: cluster() });
    for (const operation of operations) {
      assert.equal(ask(operator, operation), "identity_invalid");
      assert.equal(ask(node({ cluster: "other" }), operation), "cluster_unknown");
    }
  });

  test("is told with the record and the node that it is", () => {
    const record = cluster();
    const { admission } = setUp({ record });
    assert.deepEqual(admission.admit(node({ node: "cp-7" }), "status"), { cluster: record, node: "cp-7" });
  });

  test("is nothing under a CA that the cluster does not name, whatever else the record says", () => {
    const record = cluster({ issuer: "sha256:a", state: "suspended", nodes: { revoked: [nodeName.parse("cp-1")] } });
    const { ask } = setUp({ record, serves: () => false });
    assert.equal(ask(node()), "issuer_not_allowed");
    assert.equal(ask(node({ issuers: ["sha256:b"] })), "issuer_not_allowed");
    assert.equal(ask(node({ issuers: ["sha256:b", "sha256:a"] })), "cluster_not_served");
    assert.equal(setUp({ record: cluster() }).ask(node({ issuers: ["sha256:b"] })), "yes");
  });

  test("is nothing in another cell, whatever the nodes of the record are", () => {
    const record = cluster({ nodes: { revoked: [nodeName.parse("cp-1")] } });
    assert.equal(setUp({ record, serves: () => false }).ask(node()), "cluster_not_served");
    assert.equal(setUp({ record, serves: () => true }).ask(node()), "node_revoked");
    assert.equal(setUp({ record: cluster(), serves: () => true }).ask(node()), "yes");
  });

  test("is nothing for a node that is revoked by its name or by its serial number, or that is not expected", () => {
    const [one, two] = [nodeName.parse("cp-1"), nodeName.parse("cp-2")];
    const table: readonly (readonly [ClusterRecord["nodes"], string, string])[] = [
      [{}, "yes", "yes"],
      [{ revoked: [one] }, "node_revoked", "yes"],
      [{ revokedSerials: ["A1B"] }, "node_revoked", "yes"],
      [{ expected: [one] }, "yes", "node_unexpected"],
      [{ expected: [] }, "node_unexpected", "node_unexpected"],
      [{ expected: [one, two], revoked: [two] }, "yes", "node_revoked"],
    ];
    for (const [nodes, first, second] of table) {
      const { ask } = setUp({ record: cluster({ nodes }) });
      const given = [ask(node()), ask(node({ node: "cp-2", serial: "0C" }))];
      assert.deepEqual(given, [first, second], JSON.stringify(nodes));
    }
  });
});

suite("the rate of a cluster", () => {
  test("is what its record says; ten seconds' worth pass at once, and come back with time", () => {
    const { admitted, pass } = setUp({ record: cluster({ limits: { requestsPerSecond: 3 } }) });
    assert.equal(admitted(3 * burst + 5, node()), 3 * burst);
    pass(1000);
    assert.equal(admitted(10, node({ node: "cp-2" })), 3);
  });

  test("counts each request, whatever becomes of it", () => {
    const record = cluster({ state: "suspended", limits: { requestsPerSecond: 1 } });
    const { admitted, ask } = setUp({ record });
    assert.equal(admitted(burst, node()), burst);
    assert.equal(ask(node()), "overloaded");
  });

  test("counts the further calls of a batch, all of them or none", () => {
    const { ask, charge } = setUp({ record: cluster({ limits: { requestsPerSecond: 1 } }) });
    assert.equal(ask(node()), "yes");
    assert.equal(charge(burst), "overloaded");
    assert.equal(charge(burst - 1), "yes");
    assert.equal(charge(1), "overloaded");
    // A batch of no call at all has no further ones, and gives nothing back.
    assert.equal(charge(-1), "yes");
    assert.equal(ask(node()), "overloaded");
  });

  test("is not used up by who is refused, and each kind of them has a rate of its own", () => {
    const revoked = nodeName.parse("cp-9");
    const record = cluster({ issuer: "sha256:a", nodes: { revoked: [revoked] }, limits: { requestsPerSecond: 1 } });
    let isServed = true;
    const { ask, admitted, pass } = setUp({ record, serves: () => isServed });
    const issuers = ["sha256:a"];
    const most = strangersRate * burst;
    assert.equal(admitted(most + 5, node({ issuers: ["sha256:b"] })), most);
    assert.equal(admitted(most + 5, node({ issuers, node: "cp-9" })), most);
    isServed = false;
    assert.equal(admitted(most + 5, node({ issuers })), most);
    isServed = true;
    assert.equal(admitted(most + 5, operator), most);
    assert.equal(admitted(most + 5, node({ cluster: "other" })), most);
    assert.equal(admitted(most + 5, node({ cluster: "another" })), most);
    assert.equal(ask(node({ issuers })), "yes");
    pass(1000);
    assert.equal(admitted(most, operator), strangersRate);
  });
});

suite("what is said of a cluster", () => {
  const epoch: Epoch = [4, 1000, 9];
  const secret = new Uint8Array(32).fill(7);

  test("is its epoch, signed for it, and on a refusal its generation alone", () => {
    const record = cluster({ generation: 4 });
    const { admission } = setUp({ record, secret });
    const mac = createEpochMac(() => secret);
    assert.deepEqual(admission.claim(node(), epoch), mac.sign(record.uid, epoch));
    assert.deepEqual(admission.claim(node(), undefined), mac.sign(record.uid, [4, 0, 0]));
  });

  test("is nothing to an operator, of a cluster without a record, under another CA, and before there is a registry", () => {
    const claim = { text: "4.1000.9" };
    const pinned = setUp({ record: cluster({ issuer: "sha256:a" }), secret });
    const early = setUp({
      get: () => {
        throw new KmsError("backend_unavailable");
      },
    });
    for (const [{ admission }, identity] of [
      [pinned, operator],
      [pinned, node({ issuers: ["sha256:b"] })],
      [pinned, node({ cluster: "other" })],
      [early, node()],
    ] as const) {
      assert.equal(admission.claim(identity, epoch), undefined);
      assert.equal(admission.seen(identity, claim), undefined);
    }
    assert.equal(early.ask(node()), "backend_unavailable");
  });

  test("is believed to a node that shows it again, and only of its own cluster", () => {
    const { admission } = setUp({ record: cluster({ generation: 4 }), secret });
    assert.equal(admission.seen(node(), undefined), undefined);
    assert.deepEqual(admission.seen(node(), admission.claim(node(), epoch)), { epoch, isProven: true });
    assert.deepEqual(admission.seen(node(), { text: "4.1000.9" }), { epoch, isProven: false });
  });

  test("is behind where the caller has seen a newer generation", () => {
    const { admission } = setUp({ record: cluster({ generation: 4 }) });
    const behind = (generation: number, identity = node()) =>
      admission.isBehind(identity, { epoch: [generation, 0, 0], isProven: false });
    assert.deepEqual(
      [3, 4, 5].map((generation) => behind(generation)),
      [false, false, true],
    );
    assert.equal(admission.isBehind(node(), undefined), false);
    const none = node({ cluster: "other" });
    assert.deepEqual([behind(0, none), behind(1, none)], [false, true]);
  });
});

suite("the registry", () => {
  test("is loaded for the cluster of a node, and for nobody else", () => {
    const asked: string[] = [];
    const loading = Promise.resolve();
    const { admission } = setUp({
      load: (name) => {
        asked.push(name);
        return name === "prod" ? loading : undefined;
      },
    });
    assert.equal(admission.ready(node()), loading);
    assert.equal(admission.ready(node({ cluster: "other" })), undefined);
    assert.equal(admission.ready(operator), undefined);
    assert.deepEqual(asked, ["prod", "other"]);
  });

  test("is read again for the caller's cluster, and what goes wrong is not the caller's", async () => {
    const asked: (string | undefined)[] = [];
    let isDone = false;
    const { admission } = setUp({
      refresh: async (name) => {
        asked.push(name);
        await Promise.resolve();
        isDone = true;
      },
    });
    await admission.catchUp(node());
    assert.ok(isDone);
    await admission.catchUp(operator);
    assert.deepEqual(asked, ["prod", undefined]);
    await setUp({ refresh: () => Promise.reject(new Error("no")) }).admission.catchUp(node());
  });

  test("that does not answer is waited for no longer than a second", async (t) => {
    const timeouts: number[] = [];
    const over = new AbortController();
    t.mock.method(AbortSignal, "timeout", (ms: number) => {
      timeouts.push(ms);
      return over.signal;
    });
    const waiting = setUp({ refresh: () => new Promise(() => {}) }).admission.catchUp(node());
    over.abort(new Error("over"));
    await waiting;
    assert.deepEqual(timeouts, [1000]);
  });
});
