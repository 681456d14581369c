// KMS, the use case: identify, admit, resolve the key, call the backend, return. Knows neither HTTP
// nor Vault. (docs/architecture.md #envelope and #rotation.)
import { compareEpochs } from "@claviger/proto/wire/epoch.ts";
import { KmsError, rowOf, toKmsError } from "@claviger/proto/wire/errors.ts";
import { type KeyId, keyId as keyIdName } from "@claviger/proto/wire/names.ts";
import { zeroize } from "@claviger/proto/runtime/secret.ts";
import { limits } from "@claviger/proto/wire/protocol.ts";
import type { Dispatcher } from "../backend/dispatch.ts";
import type { KeyRef, Unwrapped, Wrapped } from "@claviger/gateway-core/src/backend/port.ts";
import { decodeEnvelope, encodeEnvelope } from "@claviger/gateway-core/src/key/envelope.ts";
import { associatedData, keyPath, type PromotedKey } from "@claviger/gateway-core/src/key/key-id.ts";
import type { ObservedEvent, Observations } from "@claviger/gateway-core/src/redis/observations.ts";
import type { KeyRing, KeyRingEntry } from "../keys/key-ring.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import type { Admission } from "./admission.ts";
import type { Call, Trail } from "./call.ts";

export type Status = { readonly healthz: string; readonly keyId: string; readonly staleSince?: number };
export type Encrypted = { readonly ciphertext: Uint8Array; readonly keyId: string };

export interface KmsService {
  /** The key_id that Encrypt uses now; from memory. */
  status(call: Call): Promise<Status>;
  /** Encrypts 1..128 bytes. `plaintext` stays the caller's to wipe. */
  encrypt(call: Call, plaintext: Uint8Array): Promise<Encrypted>;
  /**
   * Decrypts what encrypt returned. `keyId` is undefined in KMS v1, which keeps none. The result is
   * the caller's to wipe.
   */
  decrypt(call: Call, ciphertext: Uint8Array, keyId: string | undefined): Promise<Uint8Array>;
}

function healthzOf(promoted: KeyRingEntry): string {
  return promoted.failing === undefined
    ? "ok"
    : `the key backend refuses to ${promoted.failing}; ask the fleet's operators to check the gateway's policy`;
}

export function createKmsService({
  admission,
  ring,
  dispatchers,
  observations,
}: {
  readonly admission: Admission;
  readonly ring: KeyRing;
  readonly dispatchers: ReadonlyMap<string, Dispatcher>;
  readonly observations: Observations;
}): KmsService {
  const dispatcherOf = (ref: KeyRef): Dispatcher => {
    const dispatcher = dispatchers.get(ref.backend);
    if (dispatcher === undefined) throw new TypeError("a backend without a dispatcher");
    return dispatcher;
  };

  const observe = (event: ObservedEvent, { uid }: ClusterRecord, keyId: KeyId, { trail }: Call): void => {
    if (trail.node !== undefined) observations.record(event, uid, trail.node, keyId);
  };

  // A shim that has seen a newer key than we have is right: look again, and if that does not help
  // send it elsewhere.
  const resolve = async (cluster: ClusterRecord, call: Call): Promise<KeyRingEntry> => {
    const isBehind = (promoted: KeyRingEntry): boolean =>
      call.seen !== undefined && compareEpochs(promoted.epoch, call.seen) < 0;
    let promoted = await ring.promoted(cluster);
    if (isBehind(promoted)) promoted = await ring.refreshed(cluster);
    call.trail.epoch = promoted.epoch;
    call.trail.keyId = promoted.keyId;
    if (isBehind(promoted)) throw new KmsError("gateway_behind");
    return promoted;
  };

  const wrapUnder = async (
    cluster: ClusterRecord,
    { keyId, keys }: KeyRingEntry,
    plaintext: Uint8Array,
    call: Call,
  ): Promise<Encrypted> => {
    const wrapOne = async ({ ref, version }: PromotedKey): Promise<Wrapped> => {
      const item = { plaintext, associatedData: associatedData(cluster.uid, keyId, ref.backend), version };
      return await dispatcherOf(ref).wrap(cluster.name, ref, item, call.signal);
    };
    const wrapped = await Promise.all(keys.map(wrapOne));
    const wraps = keys.flatMap(({ ref }, i) => {
      const made = wrapped[i];
      return made === undefined
        ? []
        : [{ backend: ref.backend, key: keyPath(ref), version: made.version, ciphertext: made.ciphertext }];
    });
    noteBackend(call.trail, keys[0]?.ref, wrapped[0]?.requestId);
    return { ciphertext: encodeEnvelope({ clusterUid: cluster.uid, keyId, wraps }), keyId };
  };

  return {
    async status(call) {
      const cluster = admission.admit(call, "status");
      const promoted = await resolve(cluster, call);
      observe("reported", cluster, promoted.keyId, call);
      return {
        healthz: healthzOf(promoted),
        keyId: promoted.keyId,
        ...(promoted.staleSince !== undefined && { staleSince: promoted.staleSince }),
      };
    },

    async encrypt(call, plaintext) {
      const cluster = admission.admit(call, "encrypt");
      if (plaintext.length < 1 || plaintext.length > limits.plaintext)
        throw malformed(`a plaintext of ${plaintext.length} bytes`);
      const promoted = await resolve(cluster, call);
      if (promoted.isLost) throw new KmsError("key_rolled_back");
      try {
        return await wrapUnder(cluster, promoted, plaintext, call);
      } catch (thrown) {
        // Vault refuses a version below the promoted one: another replica was faster. Look, and
        // repeat once under the right version.
        if (
          rowOf(toKmsError(thrown).reason).kind === "outage" &&
          toKmsError(thrown).reason !== "backend_protocol_error"
        )
          throw thrown;
        const newer = await ring.refreshed(cluster);
        if (newer.keyId === promoted.keyId) throw thrown;
        call.trail.epoch = newer.epoch;
        call.trail.keyId = newer.keyId;
        return await wrapUnder(cluster, newer, plaintext, call);
      }
    },

    async decrypt(call, ciphertext, keyId) {
      const cluster = admission.admit(call, "decrypt");
      const epoch = ring.epoch(cluster);
      if (epoch !== undefined) call.trail.epoch = epoch;
      if (keyId !== undefined) call.trail.keyId = keyIdName.is(keyId) ? keyId : "(malformed)";
      const envelope = decodeEnvelope(ciphertext);
      call.trail.keyId = envelope.keyId;
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
        const opened: Unwrapped = await dispatcherOf(ref).unwrap(cluster.name, ref, item, call.signal);
        noteBackend(call.trail, ref, opened.requestId);
        if (envelope.clusterUid !== cluster.uid) {
          zeroize(opened.plaintext);
          throw invalid("the envelope names another cluster");
        }
        observe("decrypted", cluster, envelope.keyId, call);
        return opened.plaintext;
      }
      throw invalid("no key of the ciphertext belongs to this cluster");
    },
  };
}

function malformed(why: string): KmsError {
  return new KmsError("request_malformed", { cause: new Error(why) });
}
function invalid(why: string): KmsError {
  return new KmsError("ciphertext_invalid", { cause: new Error(why) });
}

function noteBackend(trail: Trail, ref: KeyRef | undefined, requestId: string | undefined): void {
  if (ref !== undefined) trail.backend = ref.backend;
  if (requestId !== undefined) trail.backendRequestId = requestId;
}
