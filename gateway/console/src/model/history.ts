// Steps of a history as lines of a chart: one value for each step, and none where nothing is known.
import type { HistoryPoint, Reply } from "../api/json.ts";
import { timeOf } from "./age.ts";

export type Line = { readonly name: string; readonly values: readonly (number | null)[] };
/** `times` in Unix seconds. */
export type Lines = { readonly times: readonly number[]; readonly lines: readonly Line[] };

type History = Reply<"getHistory">;

/** The steps from the first to the last that can be known; undefined for one of which nothing is. */
function stepsOf({ points = [], stepSeconds = 10, from, until }: History) {
  const step = stepSeconds * 1000;
  const byTime = new Map(points.map((point) => [timeOf(point.at) ?? 0, point]));
  const known = [...byTime.keys()];
  const first = timeOf(from) ?? Math.min(...known);
  const last = timeOf(until) ?? Math.max(...known) + step;
  const begin = Math.ceil(first / step) * step;
  const count = Number.isFinite(begin) && last > begin ? Math.floor((last - begin) / step) : 0;
  return Array.from({ length: count }, (_, i) => {
    const at = begin + i * step;
    return { at, point: byTime.get(at) };
  });
}

/** A line for each name that a step has numbers under, by what it is in all; each number for a second. */
export function ratesOf(history: History, pick: (point: HistoryPoint) => HistoryPoint["calls"]): Lines {
  const steps = stepsOf(history);
  const totals = new Map<string, number>();
  for (const { point } of steps)
    for (const [name, count = 0] of Object.entries((point && pick(point)) ?? {}))
      totals.set(name, (totals.get(name) ?? 0) + count);
  const names = [...totals].toSorted(([, a], [, b]) => b - a).map(([name]) => name);
  return {
    times: steps.map(({ at }) => at / 1000),
    lines: names.map((name) => ({
      name,
      values: steps.map(({ point }) => {
        const seconds = point?.knownSeconds ?? 0;
        return point === undefined || seconds === 0 ? null : ((pick(point) ?? {})[name] ?? 0) / seconds;
      }),
    })),
  };
}

/** Lines of values as they stand in the steps. */
export function valuesOf(
  history: History,
  lines: Readonly<Record<string, (point: HistoryPoint) => number | undefined>>,
): Lines {
  const steps = stepsOf(history);
  return {
    times: steps.map(({ at }) => at / 1000),
    lines: Object.entries(lines).map(([name, pick]) => ({
      name,
      values: steps.map(({ point }) => (point === undefined ? null : (pick(point) ?? null))),
    })),
  };
}

/** The names of all addresses that a latency was told of. */
export function addressesOf({ points = [] }: History): readonly string[] {
  return [...new Set(points.flatMap(({ latencyMilliseconds = {} }) => Object.keys(latencyMilliseconds)))].toSorted();
}

/** What a line says in words: its newest value, and its highest. */
export function summaryOf({ values }: Line): {
  readonly latest: number | undefined;
  readonly highest: number | undefined;
} {
  const known = values.filter((value) => value !== null);
  return {
    latest: values.findLast((value) => value !== null) ?? undefined,
    highest: known.length === 0 ? undefined : known.reduce((most, value) => Math.max(most, value), 0),
  };
}

/** A number with as many digits as say something. */
export function formatValue(value: number): string {
  if (value === 0) return "0";
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return String(Number(value.toFixed(digits)));
}
