// Which clusters a retirement concerns, and what is known of each. (docs/architecture.md #rotation.)
import type { BackendConfig } from "../backend/config.ts";
import type { KeyRef, KeyState } from "../backend/port.ts";
import { deriveKeyId } from "../key/key-id.ts";
import type { ClusterRecord } from "../registry/record.ts";
import type { Counted } from "./reasons.ts";
import { isSameKey } from "./same-key.ts";

/** A key, and the backends under whose names it can stand. */
export type KeyPlace = {
  readonly ref: KeyRef;
  readonly backends: Readonly<Record<string, BackendConfig>>;
};

function namesOf({ keys, previousKeys }: ClusterRecord, { ref, backends }: KeyPlace): readonly KeyRef[] {
  return [...keys, ...previousKeys].filter((one) => isSameKey(one, ref, backends));
}

/** Every cluster whose objects may need the key. */
export function usersOf(all: Iterable<ClusterRecord>, place: KeyPlace): readonly ClusterRecord[] {
  return [...all].filter((record) => namesOf(record, place).length > 0);
}

/** Every name that clusters have for the key: an envelope carries the one of its day. */
export function namesIn(users: readonly ClusterRecord[], place: KeyPlace): readonly KeyRef[] {
  return users.flatMap((user) => namesOf(user, place));
}

/** What a cluster calls these versions of the key, under each name that it has for it. */
function keyIdsOf(
  { uid }: ClusterRecord,
  names: readonly KeyRef[],
  state: KeyState,
  isMeant: (version: number) => boolean,
): string[] {
  return names.flatMap((ref) =>
    [...state.versions].flatMap(([at, createdAt]) =>
      isMeant(at) ? [deriveKeyId(uid, [{ ref, version: at, createdAt }])] : [],
    ),
  );
}

/** @param before versions below this one are to be retired */
export function countedOf(
  record: ClusterRecord,
  place: KeyPlace,
  { state, before }: { readonly state: KeyState; readonly before: number },
  known: Pick<Counted, "usage" | "isFromSnapshot" | "nodes">,
): Counted {
  const current = namesOf({ ...record, previousKeys: [] }, place);
  return {
    record,
    ...known,
    keyId: keyIdsOf(record, current, state, (at) => at === state.minEncryption)[0],
    retiring: new Set(keyIdsOf(record, namesOf(record, place), state, (at) => at < before)),
  };
}
