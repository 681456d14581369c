// KMS, the use case: identify, admit, resolve the key, call the backend, return. Knows neither HTTP nor Vault. (Design sections 5 and 7.)
import { compareEpochs } from "@claviger/proto/epoch.ts";
import { KmsError, rowOf, toKmsError } from "@claviger/proto/errors.ts";
import { type KeyId, keyId as keyIdName } from "@claviger/proto/names.ts";
import { wipe } from "@claviger/proto/secret.ts";
import { limits } from "@claviger/proto/wire.ts";
import type { Dispatcher } from "../backend/dispatch.ts";
import type { KeyRef, Unwrapped, Wrapped } from "../backend/port.ts";
import { decodeEnvelope, encodeEnvelope } from "../envelope.ts";
import { associatedData, keyPath, type PromotedKey } from "../keyid.ts";
import type { Deed, Ledger } from "../keys/ledger.ts";
import type { KeyRing, Promoted } from "../keys/ring.ts";
import type { ClusterRecord } from "../registry/record.ts";
import type { Admission } from "./admission.ts";
import type { Call, Trail } from "./call.ts";

export type Status = { readonly healthz: string; readonly keyId: string; readonly staleSince?: number };
export type Encrypted = { readonly ciphertext: Uint8Array; readonly keyId: string };

export interface KmsService {
  /** The key_id that Encrypt uses now; from memory. */
  status(call: Call): Promise<Status>;
  /** Encrypts 1..128 bytes. `plaintext` stays the caller's to wipe. */
  encrypt(call: Call, plaintext: Uint8Array): Promise<Encrypted>;
  /** Decrypts what encrypt returned. `keyId` is undefined in KMS v1, which keeps none. The result is the caller's to wipe. */
  decrypt(call: Call, ciphertext: Uint8Array, keyId: string | undefined): Promise<Uint8Array>;
}

const healthzOf = (promoted: Promoted): string =>
  promoted.failing === undefined
    ? "ok"
    : `the key backend refuses to ${promoted.failing}; ask the fleet's operators to check the gateway's policy`;

export const createKmsService = ({
  admission,
  ring,
  dispatchers,
  ledger,
}: {
  readonly admission: Admission;
  readonly ring: KeyRing;
  readonly dispatchers: ReadonlyMap<string, Dispatcher>;
  readonly ledger: Ledger;
}): KmsService => {
  const dispatcherOf = (ref: KeyRef): Dispatcher => {
    const dispatcher = dispatchers.get(ref.backend);
    if (dispatcher === undefined) throw new TypeError("a backend without a dispatcher");
    return dispatcher;
  };

  const note = (deed: Deed, { uid }: ClusterRecord, keyId: KeyId, { trail }: Call): void => {
    if (trail.node !== undefined) ledger.note(deed, uid, trail.node, keyId);
  };

  // A shim that has seen a newer key than we have is right: look again, and if that does not help send it elsewhere.
  const resolve = async (cluster: ClusterRecord, call: Call): Promise<Promoted> => {
    const isBehind = (promoted: Promoted): boolean => call.seen !== undefined && compareEpochs(promoted.epoch, call.seen) < 0;
    let promoted = await ring.promoted(cluster);
    if (isBehind(promoted)) promoted = await ring.refreshed(cluster);
    call.trail.epoch = promoted.epoch;
    call.trail.keyId = promoted.keyId;
    if (isBehind(promoted)) throw new KmsError("gateway_behind");
    return promoted;
  };

  const wrapUnder = async (cluster: ClusterRecord, { keyId, keys }: Promoted, plaintext: Uint8Array, call: Call): Promise<Encrypted> => {
    const wrapOne = async ({ ref, version }: PromotedKey): Promise<Wrapped> => {
      const item = { plaintext, associatedData: associatedData(cluster.uid, keyId, ref.backend), version };
      return await dispatcherOf(ref).wrap(cluster.name, ref, item, call.signal);
    };
    const wrapped = await Promise.all(keys.map(wrapOne));
    const wraps = keys.flatMap(({ ref }, i) => {
      const made = wrapped[i];
      return made === undefined ? [] : [{ backend: ref.backend, key: keyPath(ref), version: made.version, ciphertext: made.ciphertext }];
    });
    noteBackend(call.trail, keys[0]?.ref, wrapped[0]?.requestId);
    return { ciphertext: encodeEnvelope({ clusterUid: cluster.uid, keyId, wraps }), keyId };
  };

  return {
    async status(call) {
      const cluster = admission.admit(call, "status");
      const promoted = await resolve(cluster, call);
      note("shown", cluster, promoted.keyId, call);
      return {
        healthz: healthzOf(promoted),
        keyId: promoted.keyId,
        ...(promoted.staleSince !== undefined && { staleSince: promoted.staleSince }),
      };
    },

    async encrypt(call, plaintext) {
      const cluster = admission.admit(call, "encrypt");
      if (plaintext.length < 1 || plaintext.length > limits.plaintext) throw malformed(`a plaintext of ${plaintext.length} bytes`);
      const promoted = await resolve(cluster, call);
      if (promoted.isLost) throw new KmsError("key_rolled_back");
      try {
        return await wrapUnder(cluster, promoted, plaintext, call);
      } catch (thrown) {
        // Vault refuses a version below the promoted one: another replica was faster. Look, and repeat once under the right version.
        if (rowOf(toKmsError(thrown).reason).kind === "outage" && toKmsError(thrown).reason !== "backend_misbehaved") throw thrown;
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
      const allowed = [...cluster.keys, ...cluster.former];
      for (const wrap of envelope.wraps) {
        const ref = allowed.find((key) => key.backend === wrap.backend && keyPath(key) === wrap.key);
        if (ref === undefined) continue;
        // The data is bound to the caller's cluster, not to the one that the envelope names: a foreign ciphertext is refused by the backend itself.
        const item = {
          ciphertext: wrap.ciphertext,
          associatedData: associatedData(cluster.uid, envelope.keyId, ref.backend),
          version: wrap.version,
        };
        const opened: Unwrapped = await dispatcherOf(ref).unwrap(cluster.name, ref, item, call.signal);
        noteBackend(call.trail, ref, opened.requestId);
        if (envelope.clusterUid !== cluster.uid) {
          wipe(opened.plaintext);
          throw invalid("the envelope names another cluster");
        }
        note("decrypted", cluster, envelope.keyId, call);
        return opened.plaintext;
      }
      throw invalid("no key of the ciphertext belongs to this cluster");
    },
  };
};

const malformed = (why: string): KmsError => new KmsError("request_malformed", { cause: new Error(why) });
const invalid = (why: string): KmsError => new KmsError("ciphertext_invalid", { cause: new Error(why) });

const noteBackend = (trail: Trail, ref: KeyRef | undefined, requestId: string | undefined): void => {
  if (ref !== undefined) trail.backend = ref.backend;
  if (requestId !== undefined) trail.backendRequestId = requestId;
};
