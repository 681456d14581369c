// How fast a figure grows: a straight line through the second half of its course, once caches are full and
// heaps have their size.

/** Seconds and a figure. */
export type Point = readonly [seconds: number, value: number];

/** Growth an hour by least squares over the second half; `from` is the line's value where that begins. NaN of fewer than two points. */
export function slopeOf(points: readonly Point[]): { readonly perHour: number; readonly from: number } {
  const half = points.slice(Math.floor(points.length / 2));
  const [first] = half;
  if (first === undefined || half.length < 2) return { perHour: Number.NaN, from: Number.NaN };
  const mean = (values: readonly number[]): number => values.reduce((sum, one) => sum + one, 0) / values.length;
  const [x, y] = [mean(half.map(([at]) => at)), mean(half.map(([, value]) => value))];
  const above = half.reduce((sum, [at, value]) => sum + (at - x) * (value - y), 0);
  const below = half.reduce((sum, [at]) => sum + (at - x) ** 2, 0);
  const slope = above / below;
  return { perHour: slope * 3600, from: y + slope * (first[0] - x) };
}
