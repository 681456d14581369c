// Tries earlier versions of a key in turn, one at each canary, however many there are: a failure is
// an alarm, and changes nothing of what is served. (docs/architecture.md #rotation.)
import { rowOf, toKmsError } from "@claviger/proto/wire/errors.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { createNovelty } from "@claviger/proto/runtime/novelty.ts";
import type { Backend, KeyRef, KeyState } from "@claviger/gateway-core/src/backend/port.ts";
import { refId } from "@claviger/gateway-core/src/key/key-id.ts";
import { makeCanaryCiphertext, tryCanaryCiphertext } from "./canary.ts";
import type { CanaryCiphertext, CanaryCiphertexts } from "./canary-ciphertexts.ts";
import type { PromotedVersion } from "@claviger/gateway-core/src/key/promotion.ts";

export interface PreviousVersionProbe {
  /**
   * Keeps a ciphertext of the promoted version if there is none yet, and tries the next earlier
   * one. Never rejects.
   */
  look(promoted: PromotedVersion, state: KeyState): Promise<void>;
  /** The earlier versions that failed when they were last tried. */
  broken(): readonly number[];
}

const callMs = 5000;

export function createPreviousVersionProbe({
  backend,
  ref,
  canaryCiphertexts,
  log,
}: {
  readonly backend: Backend;
  readonly ref: KeyRef;
  readonly canaryCiphertexts: CanaryCiphertexts;
  readonly log: Log;
}): PreviousVersionProbe {
  const id = refId(ref);
  const failed = new Map<string, number>();
  const novelty = createNovelty();
  let turn = 0;
  const nameOf = ({ version, createdAt }: PromotedVersion): string => `${version}@${createdAt}`;

  const tryOne = async (canaryCiphertext: CanaryCiphertext): Promise<void> => {
    const error = await tryCanaryCiphertext(backend, ref, canaryCiphertext, AbortSignal.timeout(callMs));
    // An outage says nothing of a version.
    if (error !== undefined && rowOf(error.reason).kind === "outage" && error.reason !== "backend_protocol_error")
      return;
    const name = nameOf(canaryCiphertext);
    if (error === undefined) failed.delete(name);
    else if (!failed.has(name)) {
      failed.set(name, canaryCiphertext.version);
      log.error(
        {
          event: "previous-version-broken",
          key: id,
          version: canaryCiphertext.version,
          createdAt: canaryCiphertext.createdAt,
          err: error,
        },
        "an earlier version of this key decrypts no longer: what was written under it cannot be read",
      );
    }
  };

  return {
    async look(promoted, state) {
      try {
        const kept = await canaryCiphertexts.all(id);
        if (!kept.some((one) => nameOf(one) === nameOf(promoted)))
          await canaryCiphertexts.keep(
            id,
            await makeCanaryCiphertext(backend, ref, promoted, AbortSignal.timeout(callMs)),
          );
        // What was retired is meant to fail.
        for (const [name, version] of failed) if (version < state.minDecryption) failed.delete(name);
        const previousVersions = kept.filter(
          (one) => nameOf(one) !== nameOf(promoted) && one.version >= state.minDecryption,
        );
        const next = previousVersions[turn++ % Math.max(previousVersions.length, 1)];
        if (next !== undefined) await tryOne(next);
        novelty.reset();
      } catch (error) {
        if (novelty.isNew("previous-versions-unknown", toKmsError(error).reason))
          log.warn(
            { event: "previous-versions-unknown", key: id, err: error },
            "the kept ciphertexts of earlier versions could not be read or written",
          );
      }
    },
    broken: () => [...failed.values()],
  };
}
