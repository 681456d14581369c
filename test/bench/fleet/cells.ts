// Cells: each cluster is served by a few of many gateways, so that a cluster that takes its gateways down
// takes few others along. Arithmetic alone; nothing is started.

/** Every pair of `gateways` gateways, numbered from 0. */
export function pairsOf(gateways: number): readonly (readonly [number, number])[] {
  return Array.from({ length: gateways }, (_, a) =>
    Array.from({ length: gateways - a - 1 }, (_, b) => [a, a + b + 1] as const),
  ).flat();
}

/** What of a fleet shares gateways with one cluster: shares of all other clusters, 0 to 1. */
export type Sharing = { readonly both: number; readonly one: number; readonly none: number };

/**
 * What shares gateways with the cluster that shares the most.
 * @param pairOf the number of a cluster's pair
 */
export function worstSharing(
  clusters: number,
  gateways: number,
  pairOf: (cluster: number, pairs: number) => number,
): Sharing {
  const pairs = pairsOf(gateways);
  const clustersOf = pairs.map(() => 0);
  for (let i = 0; i < clusters; i += 1) {
    const pair = pairOf(i, pairs.length);
    clustersOf[pair] = (clustersOf[pair] ?? 0) + 1;
  }
  const others = clusters - 1;
  const sharings = pairs.flatMap(([a, b], own) => {
    if (clustersOf[own] === 0) return [];
    const both = (clustersOf[own] ?? 0) - 1;
    const one = pairs.reduce((sum, pair, i) => {
      const common = Number(pair.includes(a)) + Number(pair.includes(b));
      return sum + (common === 1 ? (clustersOf[i] ?? 0) : 0);
    }, 0);
    return [{ both: both / others, one: one / others, none: (others - both - one) / others }];
  });
  const [worst] = sharings.toSorted((a, b) => b.both - a.both || b.one - a.one);
  return worst ?? { both: 0, one: 0, none: 1 };
}
