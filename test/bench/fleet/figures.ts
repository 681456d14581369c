// Figures of a run: percentiles, seconds of a time series, and how a report shows them.

/** The smallest of the values that a share of them, 0 to 1, does not exceed; NaN of none. */
export function percentileOf(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(sorted.length * share) - 1))] ?? Number.NaN;
}

/** Percentiles of the values in each second from `from` on; NaN for a second without any. */
export function secondsOf<T>(
  items: readonly T[],
  {
    from,
    seconds,
    at,
    figure,
  }: {
    /** Milliseconds, as `at` gives them. */
    readonly from: number;
    readonly seconds: number;
    readonly at: (item: T) => number;
    readonly figure: (items: readonly T[]) => number;
  },
): readonly number[] {
  const slots = Array.from({ length: seconds }, (): T[] => []);
  for (const item of items) slots[Math.floor((at(item) - from) / 1000)]?.push(item);
  return slots.map(figure);
}

const bars = "▁▂▃▄▅▆▇█";

/** One character for each value, the highest bar for the greatest; a space where there is none. */
export function sparkline(values: readonly number[]): string {
  const most = Math.max(...values.filter(Number.isFinite), Number.MIN_VALUE);
  return values
    .map((value) =>
      Number.isFinite(value) ? (bars[Math.min(bars.length - 1, Math.floor((value / most) * bars.length))] ?? "") : " ",
    )
    .join("");
}

/** A number for people: `-` where there is none. */
export function shown(value: number, digits = 0): string {
  if (!Number.isFinite(value)) return "-";
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** A Markdown table. */
export function tableOf(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const lineOf = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [lineOf(heads), lineOf(heads.map(() => "---")), ...rows.map(lineOf)].join("\n");
}
