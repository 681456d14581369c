// Vault and OpenBao lock an AppRole or a user out, for fifteen minutes, after a few logins with a
// wrong credential: then the right one does not help either. So a credential that was refused is
// tried again rarely, and at once when its file changes.
import { stat } from "node:fs/promises";

export interface LockoutGuard {
  /** May the credential that now lies in the files be tried? */
  mayTry(): Promise<boolean>;
  /** The credential that was tried last was refused, or taken. */
  tried(isRefused: boolean): void;
}

/**
 * After the first refusal, the second, and all further ones: the last is longer than Vault's count
 * of failures lasts.
 */
const pausesMs = [30_000, 300_000, 960_000] as const;
const lastPauseMs = 960_000;

/** What changes when a file does; "" while it is missing. */
export async function fingerprint(file: string): Promise<string> {
  return await stat(file).then(
    ({ ino, size, mtimeMs }) => `${ino} ${size} ${mtimeMs}`,
    () => "",
  );
}

/** @param files of the credential; none: nothing can be locked out */
export function createLockoutGuard({
  files,
  now,
}: {
  readonly files: readonly string[];
  readonly now: () => number;
}): LockoutGuard {
  let current = "";
  let refused: { readonly mark: string; readonly count: number; readonly until: number } | undefined;
  return {
    async mayTry() {
      current = (await Promise.all(files.map(fingerprint))).join("|");
      return files.length === 0 || refused?.mark !== current || now() >= refused.until;
    },
    tried(isRefused) {
      const count = refused?.mark === current ? refused.count : 0;
      refused = isRefused
        ? { mark: current, count: count + 1, until: now() + (pausesMs[count] ?? lastPauseMs) }
        : undefined;
    },
  };
}
