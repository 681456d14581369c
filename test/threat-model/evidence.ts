// What a cell of a table rests on: searches and acts, each with what is claimed of it. The words
// are the same in every run; what was found decides the rest.
import { type Control, type Hits, look, type Place, type Sought } from "./search.ts";

/** One line of evidence. */
export type Evidence = {
  /** What was searched, or done. */
  readonly did: string;
  /** Of a search: where, for what. */
  readonly searched?: { readonly place: string; readonly what: string };
  /** What came of it. */
  readonly result: string;
  /** What was looked for was there, or what was tried worked. */
  readonly succeeded: boolean;
};

/**
 * Words for hits that do not vary from run to run: how many copies a process holds does, and once
 * the plain bytes are there no other form matters.
 */
function wordsOf(hits: Hits["hits"]): string {
  if (hits.some(({ form, count }) => form === "raw" && count > 0)) return "raw: some";
  return hits.map(({ form, count }) => `${form}: ${count > 0 ? "some" : "0"}`).join(", ");
}

function evidenceOf(place: string, { what, hits }: Hits): Evidence {
  return {
    did: `${place} searched for ${what}`,
    searched: { place, what },
    result: wordsOf(hits),
    succeeded: hits.some(({ count }) => count > 0),
  };
}

/** Searches one place for several things, in one pass. */
export function searchFor(place: Place, sought: readonly Sought[], control: Control): readonly Evidence[] {
  return look(place, sought, control).map((hits) => evidenceOf(place.name, hits));
}

/** Neighbours that say the same of several things in one place, as one: for a document. */
export function merge<T extends Evidence>(list: readonly T[], isAlike: (one: T, other: T) => boolean): readonly T[] {
  const merged: T[] = [];
  for (const next of list) {
    const last = merged.at(-1);
    const isSame =
      last?.searched !== undefined &&
      last.searched.place === next.searched?.place &&
      last.result === next.result &&
      isAlike(last, next);
    if (!isSame || last.searched === undefined || next.searched === undefined) merged.push(next);
    else {
      const { place } = last.searched;
      const what = `${last.searched.what}; ${next.searched.what}`;
      merged[merged.length - 1] = { ...last, did: `${place} searched for ${what}`, searched: { place, what } };
    }
  }
  return merged;
}
