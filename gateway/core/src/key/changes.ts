// Changes of a key by whoever may make them, looked at before and after: Transit has no check-and-set.
// (docs/architecture.md #rotation.)
import { keyPath } from "./key-id.ts";
import type { Backend, KeyControl, KeyRef } from "../backend/port.ts";

/** Why a key was not changed, in words, with what to do. */
export class KeyChangeError extends Error {
  override readonly name = "KeyChangeError";
}

type Changeable = Pick<Backend, "describe"> & Pick<KeyControl, "promote" | "rotate" | "setMinDecryption">;

const callMs = 10_000;
function signal(): AbortSignal {
  return AbortSignal.timeout(callMs);
}

/** As many versions as a gateway makes of its own accord. */
const maxLost = 100;

/**
 * Makes the newest version the one that encrypts, and looks before and after as every promoter does.
 * @throws KeyChangeError, KmsError
 */
export async function promoteLatest(
  backend: Changeable,
  key: KeyRef,
): Promise<{ readonly version: number; readonly changed: boolean }> {
  const before = await backend.describe(key, signal());
  if (before.minEncryption === before.latest) return { version: before.latest, changed: false };
  await backend.promote(key, before.latest, signal());
  const after = await backend.describe(key, signal());
  if (after.minEncryption < before.latest)
    throw new KeyChangeError("an older version was set at the same time; run this again");
  return { version: after.minEncryption, changed: true };
}

/**
 * Makes versions until the newest is above one that a restored backend has lost, and has that one
 * encrypt: no key_id that was ever shown comes back.
 * @throws KeyChangeError, KmsError
 */
export async function replaceLost(backend: Changeable, key: KeyRef, lost: number): Promise<number> {
  const { latest } = await backend.describe(key, signal());
  if (lost - latest >= maxLost)
    throw new KeyChangeError(
      `the newest version is ${latest}, more than ${maxLost} below ${lost}; raise the cluster's generation in the registry instead`,
    );
  for (let version = latest; version <= lost; ) version = await backend.rotate(key, signal());
  return (await promoteLatest(backend, key)).version;
}

/** Lets versions decrypt again. @returns whether that changed anything. @throws KeyChangeError, KmsError */
export async function unretire(backend: Changeable, key: KeyRef, from: number): Promise<boolean> {
  const { minDecryption, latest } = await backend.describe(key, signal());
  if (from > latest) throw new KeyChangeError(`${keyPath(key)} has no version ${from}; its latest is ${latest}`);
  if (from >= minDecryption) return false;
  await backend.setMinDecryption(key, from, signal());
  return true;
}
