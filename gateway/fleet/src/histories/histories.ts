// The histories of a fleet, as the methods ask for them. Redis may be away or empty: what is missing then is said.
// (docs/architecture.md #histories.)
import type { RedisStore } from "@claviger/gateway-core/src/redis/client.ts";
import { stepMs } from "@claviger/gateway-core/src/redis/histories.ts";
import type { Hour } from "./hour.ts";
import type { HourView } from "./hour-steps.ts";
import { hourMs, keptHours, readMonth, type SeriesName } from "./months.ts";
import { joinAll, type Point } from "./point.ts";

export type History = {
  /** Oldest first. */
  readonly points: readonly Point[];
  readonly stepMs: number;
  /** Unix milliseconds. */
  readonly from: number;
  readonly until: number;
  /** Why something may be missing; empty where nothing is. */
  readonly incomplete: string;
};

/** Neither rejects. */
export interface Histories {
  /** Undefined where nothing can be known now. */
  hour(): Promise<{ readonly view: HourView | undefined; readonly incomplete: string }>;
  of(series: SeriesName, period: "hour" | "month"): Promise<History>;
}

/** Where fleet.yaml names no Redis. */
export const noHistories: Histories = createHistories({ source: undefined });

function pointsOf(view: HourView, series: SeriesName): readonly Point[] {
  if (series === "fleet") return view.fleet();
  const name = series.slice(series.indexOf("/") + 1);
  return series.startsWith("gateway/") ? view.gateway(name) : view.cluster(name);
}

/** Each hour that the last steps are of. */
function hoursOf(points: readonly Point[]): readonly Point[] {
  const byHour = new Map<number, Point[]>();
  for (const point of points) {
    const begin = Math.floor(point.at / hourMs) * hourMs;
    byHour.set(begin, [...(byHour.get(begin) ?? []), point]);
  }
  return [...byHour].flatMap(([begin, all]) => joinAll(begin, all) ?? []);
}

/** @param now Unix milliseconds */
export function createHistories({
  source,
  now = Date.now,
}: {
  readonly source:
    | {
        readonly redis: Pick<RedisStore, "get" | "set" | "health">;
        readonly secret: () => Uint8Array | undefined;
        readonly hour: Hour;
      }
    | undefined;
  readonly now?: () => number;
}): Histories {
  const why = (error: unknown): string => {
    if (source === undefined)
      return "no history is kept: fleet.yaml names no Redis; give it redis and integrity as gateways have them";
    const health = source.redis.health();
    const said = health === "ok" ? (error as Error).message : `Redis is away (${health})`;
    return `the history of the fleet cannot be read: ${said}`;
  };
  const hour: Histories["hour"] = async () => {
    try {
      if (source === undefined) throw new TypeError("there is no Redis");
      return { view: await source.hour.read(), incomplete: "" };
    } catch (error) {
      return { view: undefined, incomplete: why(error) };
    }
  };
  return {
    hour,
    async of(series, period) {
      const { view, incomplete } = await hour();
      const last = view === undefined ? [] : pointsOf(view, series);
      const at = now();
      if (period === "hour") {
        const until = view?.until ?? Math.floor(at / stepMs) * stepMs;
        const from = until - hourMs;
        return { points: last.filter((point) => point.at >= from), stepMs, from, until, incomplete };
      }
      const span = { stepMs: hourMs, from: (Math.floor(at / hourMs) + 1 - keptHours) * hourMs, until: at };
      const key = source?.secret();
      if (source === undefined || key === undefined) return { points: [], ...span, incomplete };
      try {
        const kept = await readMonth(source.redis, key, series, at);
        const known = new Set(kept.map((point) => point.at));
        // An hour that is not over, or was not added yet. One that began before the steps that are kept is half an hour.
        const rest = hoursOf(last).filter((point) => !known.has(point.at));
        return { points: [...kept, ...rest].toSorted((a, b) => a.at - b.at), ...span, incomplete };
      } catch (error) {
        return { points: [], ...span, incomplete: incomplete === "" ? why(error) : incomplete };
      }
    },
  };
}
