// KMS, the use case of an admitted call: resolve the key, call the backend, return. Knows neither
// HTTP nor Vault. (docs/architecture.md #envelope and #rotation.)
import { compareEpochs, type Epoch, isPlausibleAfter } from "@claviger/proto/wire/epoch.ts";
import { KmsError, rowOf, toKmsError } from "@claviger/proto/wire/errors.ts";
import { type KeyId, keyId as keyIdName } from "@claviger/proto/wire/names.ts";
import { zeroize } from "@claviger/proto/runtime/secret.ts";
import { limits } from "@claviger/proto/wire/protocol.ts";
import type { Dispatcher } from "../backend/dispatch.ts";
import type { KeyRef, Outcome, Unwrapped, Wrapped } from "@claviger/gateway-core/src/backend/port.ts";
import { decodeEnvelope, encodeEnvelope } from "@claviger/gateway-core/src/key/envelope.ts";
import { associatedData, keyPath, type PromotedKey } from "@claviger/gateway-core/src/key/key-id.ts";
import type { SeenEpoch } from "@claviger/gateway-core/src/key/epoch-mac.ts";
import type { ObservedEvent, Observations } from "@claviger/gateway-core/src/redis/observations.ts";
import type { KeyRing, KeyRingEntry } from "../keys/key-ring.ts";
import type { Call, CallFields } from "./call.ts";

export type Status = { readonly healthz: string; readonly keyId: string; readonly staleSince?: number };
export type Encrypted = { readonly ciphertext: Uint8Array; readonly keyId: string };

export type EncryptItem = { readonly call: Call; readonly plaintext: Uint8Array };

export interface KmsService {
  /** The key_id that Encrypt uses now; from memory. */
  status(call: Call): Promise<Status>;
  /** Encrypts 1..128 bytes. `plaintext` stays the caller's to zeroize. */
  encrypt(call: Call, plaintext: Uint8Array): Promise<Encrypted>;
  /**
   * Encrypts several plaintexts as `encrypt` does, all under one key_id.
   * @param items of one request: their calls share all but what is learnt about them
   * @throws KmsError why none can be encrypted
   */
  encryptAll(items: readonly EncryptItem[]): Promise<readonly Outcome<Encrypted>[]>;
  /**
   * Decrypts what encrypt returned. `keyId` is undefined in KMS v1, which keeps none. The result is
   * the caller's to zeroize.
   */
  decrypt(call: Call, ciphertext: Uint8Array, keyId: string | undefined): Promise<Uint8Array>;
}

function healthzOf(promoted: KeyRingEntry): string {
  return promoted.failing === undefined
    ? "ok"
    : `the key backend refuses to ${promoted.failing}; ask the fleet's operators to check the gateway's policy`;
}

export function createKmsService({
  ring,
  dispatchers,
  observations,
}: {
  readonly ring: KeyRing;
  readonly dispatchers: ReadonlyMap<string, Dispatcher>;
  readonly observations: Observations;
}): KmsService {
  const dispatcherOf = (ref: KeyRef): Dispatcher => {
    const dispatcher = dispatchers.get(ref.backend);
    if (dispatcher === undefined) throw new TypeError("a backend without a dispatcher");
    return dispatcher;
  };

  const observe = (event: ObservedEvent, { cluster, node }: Call, keyId: KeyId): void =>
    observations.record(event, cluster.uid, node, keyId);

  // A shim that has seen a newer key than this gateway is right: look again, and if that does not
  // help send it elsewhere.
  const resolve = async (call: Call): Promise<KeyRingEntry> => {
    const { cluster, seen } = call;
    const isBehind = ({ epoch }: KeyRingEntry): boolean => isBelow(epoch, seen);
    let entry = await ring.promoted(cluster);
    if (isBehind(entry)) entry = await ring.refreshed(cluster);
    // Still: then it is the backend that is older than what the fleet has shown.
    if (seen?.isProven === true && isBehind(entry) && seen.epoch[0] === cluster.generation)
      entry = await ring.refreshed(cluster, seen.epoch);
    call.onEpoch(entry.epoch);
    call.fields.keyId = entry.keyId;
    if (isBehind(entry)) throw new KmsError("gateway_behind");
    return entry;
  };

  const wrapUnder = async (
    { keyId, keys }: KeyRingEntry,
    { plaintext, call: { cluster, signal, deadline, fields } }: EncryptItem,
  ): Promise<Encrypted> => {
    const wrapOne = async ({ ref, version }: PromotedKey): Promise<Wrapped> => {
      const item = { plaintext, associatedData: associatedData(cluster.uid, keyId, ref.backend), version };
      return await dispatcherOf(ref).wrap(cluster.name, ref, item, signal, deadline);
    };
    const wrapped = await Promise.all(keys.map(wrapOne));
    const wraps = keys.flatMap(({ ref }, i) => {
      const made = wrapped[i];
      return made === undefined
        ? []
        : [{ backend: ref.backend, key: keyPath(ref), version: made.version, ciphertext: made.ciphertext }];
    });
    setBackend(fields, keys[0]?.ref, wrapped[0]?.requestId);
    fields.keyId = keyId;
    return { ciphertext: encodeEnvelope({ clusterUid: cluster.uid, keyId, wraps }), keyId };
  };

  const encryptAll = async (items: readonly EncryptItem[]): Promise<readonly Outcome<Encrypted>[]> => {
    for (const { plaintext } of items)
      if (plaintext.length < 1 || plaintext.length > limits.plaintext)
        throw malformed(`a plaintext of ${plaintext.length} bytes`);
    const [first] = items;
    if (first === undefined) return [];
    const { cluster, signal, onEpoch } = first.call;
    const entry = await resolve(first.call);
    if (entry.isLost) throw new KmsError("key_rolled_back");
    const under = (promoted: KeyRingEntry): Promise<readonly Outcome<Encrypted>[]> =>
      Promise.all(items.map((item) => outcomeOf(wrapUnder(promoted, item))));
    const outcomes = await under(entry);
    const refused = outcomes.find((outcome) => !outcome.ok && mayBeOfVersion(outcome.error));
    // Nobody waits for a repetition any more.
    if (refused?.ok !== false || signal.aborted) return outcomes;
    // Vault refuses a version below the promoted one: another replica was faster. Look, and repeat once
    // under the right version.
    const newer = await ring.refreshed(cluster);
    if (newer.isLost) throw new KmsError("key_rolled_back", { cause: refused.error });
    if (newer.keyId === entry.keyId) return outcomes.map(notTheCallers);
    onEpoch(newer.epoch);
    return await under(newer);
  };

  return {
    async status(call) {
      const entry = await resolve(call);
      observe("reported", call, entry.keyId);
      return {
        healthz: healthzOf(entry),
        keyId: entry.keyId,
        ...(entry.staleSince !== undefined && { staleSince: entry.staleSince }),
      };
    },

    async encrypt(call, plaintext) {
      const [outcome] = await encryptAll([{ call, plaintext }]);
      if (outcome?.ok !== true) throw outcome?.error ?? new TypeError("an outcome is missing");
      return outcome.value;
    },

    encryptAll,

    async decrypt(call, ciphertext, keyId) {
      const { cluster, fields, signal, deadline } = call;
      const epoch = ring.epoch(cluster);
      if (epoch !== undefined) call.onEpoch(epoch);
      // What it would refuse for good, another gateway with the newer registry may know.
      if (
        call.seen !== undefined &&
        isBelow([cluster.generation, 0, 0], { ...call.seen, epoch: [call.seen.epoch[0], 0, 0] })
      )
        throw new KmsError("gateway_behind");
      if (keyId !== undefined) fields.keyId = keyIdName.is(keyId) ? keyId : "(malformed)";
      const envelope = decodeEnvelope(ciphertext);
      if (envelope.clusterUid === cluster.uid) fields.keyId = envelope.keyId;
      else fields.foreignUid = envelope.clusterUid;
      if (keyId !== undefined && keyId !== envelope.keyId) throw invalid("the key_id is not the ciphertext's");
      const allowed = [...cluster.keys, ...cluster.previousKeys];
      for (const wrap of envelope.wraps) {
        const ref = allowed.find((key) => key.backend === wrap.backend && keyPath(key) === wrap.key);
        if (ref === undefined) continue;
        // The data is bound to the caller's cluster, not to the one that the envelope names: a
        // foreign ciphertext is refused by the backend itself.
        const item = {
          ciphertext: wrap.ciphertext,
          associatedData: associatedData(cluster.uid, envelope.keyId, ref.backend),
          version: wrap.version,
        };
        setBackend(fields, ref, undefined);
        const opened: Unwrapped = await dispatcherOf(ref).unwrap(cluster.name, ref, item, signal, deadline);
        setBackend(fields, ref, opened.requestId);
        if (envelope.clusterUid !== cluster.uid) {
          zeroize(opened.plaintext);
          throw invalid("the envelope names another cluster");
        }
        observe("decrypted", call, envelope.keyId);
        return opened.plaintext;
      }
      throw invalid("no key of the ciphertext belongs to this cluster");
    },
  };
}

/** Is ours below the one that a shim has seen? One that is not proven and cannot be is not believed. */
function isBelow(own: Epoch, seen: SeenEpoch | undefined): boolean {
  return (
    seen !== undefined && compareEpochs(own, seen.epoch) < 0 && (seen.isProven || isPlausibleAfter(seen.epoch, own))
  );
}

function outcomeOf<T>(promise: Promise<T>): Promise<Outcome<T>> {
  return promise.then(
    (value) => ({ ok: true, value }),
    (thrown: unknown) => ({ ok: false, error: toKmsError(thrown) }),
  );
}

function mayBeOfVersion({ reason }: KmsError): boolean {
  return reason !== "canceled" && (rowOf(reason).kind !== "outage" || reason === "backend_protocol_error");
}

function malformed(why: string): KmsError {
  return new KmsError("request_malformed", { cause: new Error(why) });
}

/** The version was ours to choose: whatever is wrong with it, the caller is not at fault. */
function notTheCallers<T>(outcome: Outcome<T>): Outcome<T> {
  return outcome.ok || outcome.error.reason !== "request_malformed"
    ? outcome
    : { ok: false, error: new KmsError("key_unusable", { cause: outcome.error }) };
}

function invalid(why: string): KmsError {
  return new KmsError("ciphertext_invalid", { cause: new Error(why) });
}

function setBackend(fields: CallFields, ref: KeyRef | undefined, requestId: string | undefined): void {
  if (ref !== undefined) fields.backend = ref.backend;
  if (requestId !== undefined) fields.backendRequestId = requestId;
}
