// Which version of a key encrypts, and what has to be done about it. Pure: looks at what the
// backend says and at what we knew. (docs/architecture.md #keys.)
import type { KeyState } from "../backend/port.ts";

/** The version that encrypts. */
export type PromotedVersion = { readonly version: number /** Unix seconds */; readonly createdAt: number };

/** What to do after a look at a key. */
export type Decision =
  /** Nothing: this version encrypts. */
  | { readonly kind: "keep"; readonly promoted: PromotedVersion }
  /** The backend's value fell below one that we have known: use that one and write it again. */
  | { readonly kind: "raise"; readonly promoted: PromotedVersion }
  /** A newer version waits: try it, then write it. `lost` when what we knew is gone for ever. */
  | { readonly kind: "promote"; readonly version: number; readonly lost: boolean }
  /**
   * Somebody promoted another incarnation of the key: take it, and say that what we knew is gone.
   */
  | { readonly kind: "replace"; readonly promoted: PromotedVersion }
  /**
   * What we knew is gone and no version above it exists: the backend came out of a backup, or the
   * key was made anew. `rotations` is how many new versions make one that was never shown.
   */
  | { readonly kind: "rolled-back"; readonly rotations: number };

/**
 * Decides. Versions only go up: an epoch has no other order, and no clock. A creation time only
 * tells that a version was recreated, which makes it another key.
 * @param known what this replica last knew to be promoted; undefined at first sight
 * @param isAuto whether newer versions are promoted without an operator
 */
export function decidePromotion(state: KeyState, known: PromotedVersion | undefined, isAuto: boolean): Decision {
  const at = (version: number): PromotedVersion | undefined => {
    const createdAt = state.versions.get(version);
    return createdAt === undefined ? undefined : { version, createdAt };
  };
  const pinned = at(state.minEncryption);
  const latest = at(state.latest);
  if (known !== undefined && at(known.version)?.createdAt !== known.createdAt) {
    const isAbove = (next: PromotedVersion): boolean => next.version > known.version;
    if (pinned !== undefined && isAbove(pinned) && (!isAuto || state.minEncryption === state.latest))
      return { kind: "replace", promoted: pinned };
    return isAuto && latest !== undefined && isAbove(latest)
      ? { kind: "promote", version: latest.version, lost: true }
      : { kind: "rolled-back", rotations: Math.max(1, known.version + 1 - state.latest) };
  }
  const mayMove = isAuto || (pinned === undefined && known === undefined);
  if (mayMove && latest !== undefined && latest.version > Math.max(state.minEncryption, known?.version ?? 0))
    return { kind: "promote", version: latest.version, lost: false };
  if (known !== undefined && state.minEncryption < known.version) return { kind: "raise", promoted: known };
  return pinned === undefined ? { kind: "rolled-back", rotations: 1 } : { kind: "keep", promoted: pinned };
}
