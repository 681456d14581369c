import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test, type TestContext } from "node:test";
import { decodeEnvelope, encodeEnvelope } from "@claviger/gateway-core/src/key/envelope.ts";
import type { Dispatcher } from "@claviger/gateway-server/src/backend/dispatch.ts";
import type { Outcome } from "@claviger/gateway-core/src/backend/port.ts";
import { createNoOpKeyCache } from "@claviger/gateway-server/src/keys/shared-key-cache.ts";
import { createKeyRing } from "@claviger/gateway-server/src/keys/key-ring.ts";
import { createAdmission, type Operation } from "@claviger/gateway-server/src/kms/admission.ts";
import type { Call, CallFields } from "@claviger/gateway-server/src/kms/call.ts";
import type { Identity } from "@claviger/gateway-core/src/identity.ts";
import type { Epoch } from "@claviger/proto/wire/epoch.ts";
import { createKmsService } from "@claviger/gateway-server/src/kms/service.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { clusterName, clusterUid, keyName, nodeName } from "@claviger/proto/wire/names.ts";
import { cluster, createFakeBackend, type FakeBackend, ref, silent } from "../../fakes.ts";

function direct(backend: FakeBackend): Dispatcher {
  const only = <T>([outcome]: readonly Outcome<T>[]): T => {
    assert.ok(outcome !== undefined);
    if (!outcome.ok) throw outcome.error;
    return outcome.value;
  };
  return {
    wrap: async (_cluster, key, item, signal) => only(await backend.wrap(key, [item], signal)),
    unwrap: async (_cluster, key, item, signal) => only(await backend.unwrap(key, [item], signal)),
  };
}

function start(t: TestContext, ...records: readonly ClusterRecord[]) {
  const backend = createFakeBackend();
  const registry = new Map(records.map((record) => [record.name, record]));
  const ring = createKeyRing({
    backends: new Map([[backend.name, backend]]),
    using: () => [...registry.values()],
    sharedCache: createNoOpKeyCache(),
    refreshMs: 3_600_000,
    canaryMs: 3_600_000,
    log: silent,
  });
  t.after(() => ring.close());
  const store = {
    get: (name: ClusterRecord["name"]) => registry.get(name),
    load: () => undefined,
    known: () => [],
    using: () => [...registry.values()],
    version: () => undefined,
    problem: () => undefined,
    refresh: () => Promise.resolve(),
    close: () => {},
  };
  const noted: string[] = [];
  const admission = createAdmission({ registry: store });
  const kms = createKmsService({
    ring,
    dispatchers: new Map([[ref.backend as string, direct(backend)]]),
    observations: { record: (event, _, node, keyId) => void noted.push(`${event} ${node} ${keyId}`) },
  });
  /** As the handler does it: admitted first. */
  const admit = (call: TestCall, operation: Operation): Call => ({
    ...admission.admit(call.identity, operation),
    seen: call.seen && { epoch: call.seen, isProven: call.isProven === true },
    signal: AbortSignal.timeout(5000),
    deadline: Number.POSITIVE_INFINITY,
    fields: call.fields,
    onEpoch: (epoch) => void (call.epoch = epoch),
  });
  const service = {
    status: async (call: TestCall) => await kms.status(admit(call, "status")),
    encrypt: async (call: TestCall, plaintext: Uint8Array) => await kms.encrypt(admit(call, "encrypt"), plaintext),
    encryptAll: async (items: readonly (readonly [TestCall, Uint8Array])[]) =>
      await kms.encryptAll(items.map(([call, plaintext]) => ({ call: admit(call, "encrypt"), plaintext }))),
    decrypt: async (call: TestCall, ciphertext: Uint8Array, keyId: string | undefined) =>
      await kms.decrypt(admit(call, "decrypt"), ciphertext, keyId),
  };
  return { backend, registry, service, noted };
}

type TestCall = {
  readonly identity: Identity;
  readonly seen: Epoch | undefined;
  readonly isProven?: boolean | undefined;
  readonly fields: CallFields;
  epoch?: Epoch;
};

function callOf(
  name = "prod",
  { seen, isProven }: { readonly seen?: Epoch; readonly isProven?: boolean } = {},
): TestCall {
  return {
    identity: {
      kind: "node",
      cluster: clusterName.parse(name),
      node: nodeName.parse("cp-1"),
      serial: "01",
      notBefore: 0,
      notAfter: Number.POSITIVE_INFINITY,
    },
    seen,
    isProven,
    fields: {},
  };
}
function hasReason(reason: string) {
  return (error: unknown) => error instanceof KmsError && error.reason === reason;
}
const other = cluster({ name: clusterName.parse("other"), uid: clusterUid.parse("01JD9Z6X3QK8V5T7W2M4N6P8RB") });

test("what a cluster encrypts it decrypts, and Status names the same key_id", async (t) => {
  const { service } = start(t, cluster());
  for (const size of [1, 4, 32, 33, 128]) {
    const plaintext = randomBytes(size);
    const { ciphertext, keyId } = await service.encrypt(callOf(), plaintext);
    assert.equal((await service.status(callOf())).keyId, keyId);
    assert.deepEqual(Buffer.from(await service.decrypt(callOf(), ciphertext, keyId)), plaintext);
    assert.deepEqual(Buffer.from(await service.decrypt(callOf(), ciphertext, undefined)), plaintext);
  }
});

test("Encrypts of one request have one key_id, that of its epoch, though another replica promotes between them", async (t) => {
  const { backend, service } = start(t, cluster());
  const { keyId: before } = await service.encrypt(callOf(), randomBytes(32));
  const wrapsBefore = backend.calls.wrap;
  backend.before = (operation) => {
    if (operation !== "wrap" || backend.calls.wrap !== wrapsBefore + 2) return;
    const version = backend.addVersion(2000);
    backend.state = { ...backend.state, minEncryption: version };
  };
  const items = [1, 2, 3].map(() => [callOf(), randomBytes(32)] as const);
  const outcomes = await service.encryptAll(items);
  assert.equal(backend.calls.wrap, wrapsBefore + 6);
  const keyIds = outcomes.map((outcome) => (outcome.ok ? outcome.value.keyId : outcome.error.reason));
  assert.deepEqual([new Set(keyIds).size, keyIds[0] === before], [1, false]);
  assert.equal((await service.status(callOf())).keyId, keyIds[0]);
  assert.deepEqual(items[0]?.[0].epoch, [0, 2000, 2]);
  assert.deepEqual(
    items.map(([{ fields }]) => fields.keyId),
    keyIds,
  );
  for (const [i, outcome] of outcomes.entries()) {
    assert.ok(outcome.ok);
    assert.deepEqual(
      Buffer.from(await service.decrypt(callOf(), outcome.value.ciphertext, outcome.value.keyId)),
      items[i]?.[1],
    );
  }
});

test("Status asks the backend nothing once the key is known", async (t) => {
  const { backend, service } = start(t, cluster());
  await service.status(callOf());
  const before = { ...backend.calls };
  for (let i = 0; i < 100; i++) await service.status(callOf());
  assert.deepEqual(backend.calls, before);
});

test("a suspended cluster is refused everything, a decrypt-only one all but Decrypt, an unknown one everything, without a call to the backend", async (t) => {
  const { backend, registry, service } = start(t, cluster());
  const { ciphertext, keyId } = await service.encrypt(callOf(), randomBytes(32));
  const before = { ...backend.calls };
  const refuse = async (reason: string, name = "prod"): Promise<void> => {
    await assert.rejects(service.status(callOf(name)), hasReason(reason));
    await assert.rejects(service.encrypt(callOf(name), randomBytes(32)), hasReason(reason));
  };
  registry.set(cluster().name, cluster({ state: "suspended" }));
  await refuse("cluster_suspended");
  await assert.rejects(service.decrypt(callOf(), ciphertext, keyId), hasReason("cluster_suspended"));
  await refuse("cluster_unknown", "nobody");
  registry.set(cluster().name, cluster({ state: "decrypt-only" }));
  await refuse("cluster_decrypt_only");
  assert.deepEqual(backend.calls, before);
  assert.equal((await service.decrypt(callOf(), ciphertext, keyId)).length, 32);
});

test("another cluster's ciphertext goes to the backend under the caller's name, and the backend refuses it", async (t) => {
  const { backend, service } = start(t, cluster(), other);
  const { ciphertext, keyId } = await service.encrypt(callOf("prod"), randomBytes(32));
  const before = backend.calls.unwrap;
  await assert.rejects(service.decrypt(callOf("other"), ciphertext, keyId), hasReason("ciphertext_invalid"));
  assert.equal(backend.calls.unwrap, before + 1);
  // Rewriting the envelope to the caller's own uid does not help.
  const forged = encodeEnvelope({ ...decodeEnvelope(ciphertext), clusterUid: other.uid });
  await assert.rejects(service.decrypt(callOf("other"), forged, keyId), hasReason("ciphertext_invalid"));
  // Nor does naming another in one's own ciphertext pass.
  const renamed = encodeEnvelope({ ...decodeEnvelope(ciphertext), clusterUid: other.uid });
  await assert.rejects(service.decrypt(callOf("prod"), renamed, keyId), hasReason("ciphertext_invalid"));
});

test("a key that the cluster's record does not list is never asked, whatever an envelope says", async (t) => {
  const { backend, service } = start(t, cluster());
  const { ciphertext, keyId } = await service.encrypt(callOf(), randomBytes(32));
  const envelope = decodeEnvelope(ciphertext);
  const before = { ...backend.calls };
  const forged = encodeEnvelope({
    ...envelope,
    wraps: envelope.wraps.map((wrap) => ({ ...wrap, key: "transit/another" })),
  });
  await assert.rejects(service.decrypt(callOf(), forged, keyId), hasReason("ciphertext_invalid"));
  assert.deepEqual(backend.calls, before);
});

test("a key_id that is not the ciphertext's is refused", async (t) => {
  const { service } = start(t, cluster());
  const { ciphertext, keyId } = await service.encrypt(callOf(), randomBytes(32));
  await assert.rejects(
    service.decrypt(callOf(), ciphertext, `${keyId.slice(0, -1)}_`),
    hasReason("ciphertext_invalid"),
  );
});

test("after a change of keys the previous ones still decrypt, and the key_id is new", async (t) => {
  const { registry, service } = start(t, cluster());
  const { ciphertext, keyId } = await service.encrypt(callOf(), randomBytes(32));
  const moved = { ...ref, key: keyName.parse("prod-2") };
  registry.set(cluster().name, cluster({ generation: 1, keys: [moved], previousKeys: [ref] }));
  assert.notEqual((await service.status(callOf())).keyId, keyId);
  assert.equal((await service.decrypt(callOf(), ciphertext, keyId)).length, 32);
});

test("a replica that lags is corrected by the backend's refusal and repeats under the right version", async (t) => {
  const { backend, service } = start(t, cluster());
  const { keyId } = await service.status(callOf());
  backend.addVersion(2000);
  backend.state = { ...backend.state, minEncryption: 2 };
  const call = callOf();
  const encrypted = await service.encrypt(call, randomBytes(32));
  assert.notEqual(encrypted.keyId, keyId);
  assert.equal(call.fields.keyId, encrypted.keyId);
  assert.equal((await service.status(callOf())).keyId, encrypted.keyId);
});

test("the observations say what each node was told and under what it decrypts", async (t) => {
  const { service, noted } = start(t, cluster());
  const { keyId } = await service.status(callOf());
  const { ciphertext } = await service.encrypt(callOf(), randomBytes(32));
  await service.decrypt(callOf(), ciphertext, keyId);
  const node = noted[0]?.split(" ")[1] ?? "";
  assert.deepEqual(noted, [`reported ${node} ${keyId}`, `decrypted ${node} ${keyId}`]);
});

test("a shim that has seen a newer epoch makes the gateway look again, or is sent elsewhere", async (t) => {
  const { backend, service } = start(t, cluster());
  const first = callOf();
  await service.status(first);
  backend.addVersion(2000);
  const seen = [0, 2000, 2] as const;
  const call = callOf("prod", { seen });
  await service.status(call);
  assert.deepEqual(call.epoch, seen);
  await assert.rejects(service.status(callOf("prod", { seen: [0, 9000, 9] })), hasReason("gateway_behind"));
});

test("a Decrypt of a shim that has seen a newer registry is sent elsewhere, not refused for good", async (t) => {
  const { backend, service } = start(t, cluster());
  const { keyId } = await service.status(callOf());
  const { ciphertext } = await service.encrypt(callOf(), randomBytes(32));
  const { unwrap } = backend.calls;
  const seen = [1, 1000, 1] as const;
  await assert.rejects(service.decrypt(callOf("prod", { seen }), ciphertext, keyId), hasReason("gateway_behind"));
  assert.equal(backend.calls.unwrap, unwrap);
  // What cannot be is not believed.
  await service.decrypt(callOf("prod", { seen: [999_999, 0, 0] }), ciphertext, keyId);
});

test("a registry is read again before a caller is admitted that has seen a newer one", async () => {
  const records = [cluster()];
  let reads = 0;
  const admission = createAdmission({
    registry: {
      get: () => records[0],
      load: () => undefined,
      known: () => [],
      using: () => records,
      version: () => undefined,
      problem: () => undefined,
      refresh: (name) => {
        assert.equal(name, "prod");
        reads += 1;
        records[0] = cluster({ generation: 1, state: "suspended" });
        return Promise.resolve();
      },
      close: () => {},
    },
  });
  const { identity } = callOf();
  assert.equal(admission.isBehind(identity, admission.seen(identity, { text: "0.9000.9" })), false);
  assert.equal(admission.isBehind(identity, admission.seen(identity, { text: "1.1000.1" })), true);
  await admission.catchUp(identity);
  assert.equal(reads, 1);
  // On the refusal: a gateway whose registry is older learns of it from the shim.
  assert.equal(admission.claim(identity, undefined)?.text, "1.0.0");
  assert.throws(() => admission.admit(identity, "decrypt"), hasReason("cluster_suspended"));
});

test("a backend that is older than what the fleet has shown was restored: auto rotates, manual alarms", async (t) => {
  for (const rotation of ["auto", "manual"] as const) {
    const { backend, service } = start(t, cluster({ rotation }));
    const first = await service.status(callOf());
    const call = callOf("prod", { seen: [0, 9000, 3], isProven: true });
    const { keyId } = await service.status(call);
    assert.notEqual(keyId, first.keyId);
    if (rotation === "auto") {
      assert.equal(backend.state.minEncryption, 4, "a version that was never shown");
      await service.encrypt(callOf(), randomBytes(32));
    } else {
      assert.equal(backend.state.latest, 1);
      assert.deepEqual(call.epoch, [0, 9000, 3], "the last key_id goes on being shown");
      await assert.rejects(service.encrypt(callOf(), randomBytes(32)), hasReason("key_rolled_back"));
    }
  }
});

test("proof of an earlier generation of the registry moves no key", async (t) => {
  const { backend, service } = start(t, cluster({ generation: 1 }));
  await service.status(callOf("prod", { seen: [0, 9000, 3], isProven: true }));
  assert.equal(backend.state.latest, 1);
});

test("a cluster beyond its rate is refused, its neighbour is not", async (t) => {
  const { service } = start(t, cluster({ limits: { requestsPerSecond: 5 } }), other);
  const results = await Promise.allSettled(Array.from({ length: 60 }, () => service.status(callOf())));
  assert.ok(results.some((result) => result.status === "rejected" && hasReason("overloaded")(result.reason)));
  await service.status(callOf("other"));
});

test("a lost version stops Encrypt while Status goes on with the last key_id", async (t) => {
  const manual = cluster({ rotation: "manual" });
  const { backend, service } = start(t, manual);
  const { keyId } = await service.status(callOf());
  backend.state = { versions: new Map([[1, 500]]), latest: 1, minEncryption: 1, minDecryption: 1 };
  const seen = [0, 1000, 2] as const;
  await assert.rejects(service.status(callOf("prod", { seen })), hasReason("gateway_behind"));
  await assert.rejects(service.encrypt(callOf(), randomBytes(32)), hasReason("key_rolled_back"));
  assert.equal((await service.status(callOf())).keyId, keyId);
});
