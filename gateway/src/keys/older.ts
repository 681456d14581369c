// Tries earlier versions of a key in turn, one at each canary, however many there are: a failure is an alarm, and changes nothing of what is served. (Design section 7.)
import { rowOf } from "@claviger/proto/errors.ts";
import type { Log } from "@claviger/proto/log.ts";
import type { Backend, KeyRef, KeyState } from "../backend/port.ts";
import { refId } from "../keyid.ts";
import { makeKeepsake, tryKeepsake } from "./canary.ts";
import type { Keepsake, Keepsakes } from "./keepsakes.ts";
import type { Promoted } from "./promotion.ts";

export interface OlderVersions {
  /** Keeps a ciphertext of the promoted version if there is none yet, and tries the next earlier one. Never rejects. */
  look(promoted: Promoted, state: KeyState): Promise<void>;
  /** How many earlier versions failed when they were last tried. */
  broken(): number;
}

const callMs = 5000;

export const createOlderVersions = ({
  backend,
  ref,
  keepsakes,
  log,
}: {
  readonly backend: Backend;
  readonly ref: KeyRef;
  readonly keepsakes: Keepsakes;
  readonly log: Log;
}): OlderVersions => {
  const id = refId(ref);
  const failed = new Set<string>();
  let turn = 0;
  const nameOf = ({ version, createdAt }: Promoted): string => `${version}@${createdAt}`;

  const tryOne = async (keepsake: Keepsake): Promise<void> => {
    const error = await tryKeepsake(backend, ref, keepsake, AbortSignal.timeout(callMs));
    // An outage says nothing of a version.
    if (error !== undefined && rowOf(error.reason).kind === "outage" && error.reason !== "backend_misbehaved") return;
    const name = nameOf(keepsake);
    if (error === undefined) failed.delete(name);
    else if (!failed.has(name)) {
      failed.add(name);
      log.error(
        { event: "older-version-broken", key: id, version: keepsake.version, createdAt: keepsake.createdAt, err: error },
        "an earlier version of this key decrypts no longer: what was written under it cannot be read",
      );
    }
  };

  return {
    async look(promoted, state) {
      try {
        const kept = await keepsakes.all(id);
        if (!kept.some((one) => nameOf(one) === nameOf(promoted)))
          await keepsakes.keep(id, await makeKeepsake(backend, ref, promoted, AbortSignal.timeout(callMs)));
        // What was retired is meant to fail.
        const older = kept.filter((one) => nameOf(one) !== nameOf(promoted) && one.version >= state.minDecryption);
        const next = older[turn++ % Math.max(older.length, 1)];
        if (next !== undefined) await tryOne(next);
      } catch (error) {
        log.warn(
          { event: "older-versions-unknown", key: id, err: error },
          "the kept ciphertexts of earlier versions could not be read or written",
        );
      }
    },
    broken: () => failed.size,
  };
};
