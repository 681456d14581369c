// Counts in words.

/** `1 node`, `3 nodes`. */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`;
}

/** `12 345`, with narrow spaces that do not break. */
export function formatCount(count: number): string {
  return String(count).replaceAll(/\B(?=(\d{3})+$)/g, "\u202f");
}

/** A number that may not be known. */
export function orUnknown(count: number | undefined): string {
  return count === undefined ? "unknown" : formatCount(count);
}

export function totalOf(counts: Readonly<Record<string, number | undefined>>): number {
  return Object.values(counts).reduce<number>((sum, count = 0) => sum + count, 0);
}
