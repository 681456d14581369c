// Which node showed which key_id when, as bars on one scale of time.
import type { KeyShown } from "../api/json.ts";
import { timeOf } from "./age.ts";

export type Bar = {
  readonly keyId: string;
  /** 0 where it is not known. */
  readonly version: number;
  readonly isCurrent: boolean;
  /** Unix milliseconds. */
  readonly from: number;
  readonly until: number;
  /** Shares of the scale, 0 to 1. */
  readonly start: number;
  readonly width: number;
  readonly decryptedUntil: number | undefined;
};
export type NodeBars = { readonly node: string; readonly bars: readonly Bar[] };
export type Timeline = { readonly from: number; readonly until: number; readonly nodes: readonly NodeBars[] };

/** A bar of a moment can be seen all the same. */
const leastWidth = 0.004;
/** A scale is not shorter, milliseconds. */
const leastSpan = 60_000;

/** @param now Unix milliseconds: where the scale ends */
export function timelineOf(shown: readonly KeyShown[], current: string, now: number): Timeline {
  const known = shown.flatMap((one) => {
    const from = timeOf(one.shownFrom) ?? timeOf(one.decryptedFrom);
    const until = timeOf(one.shownUntil) ?? timeOf(one.decryptedUntil);
    return from === undefined || until === undefined ? [] : [{ one, from, until }];
  });
  const from = Math.min(now - leastSpan, ...known.map((bar) => bar.from));
  const until = Math.max(now, ...known.map((bar) => bar.until));
  const nodes = new Map<string, Bar[]>();
  for (const { one, ...times } of known) {
    const { node = "", keyId = "", version = 0 } = one;
    const width = Math.max(leastWidth, (times.until - times.from) / (until - from));
    const bar = {
      keyId,
      version,
      isCurrent: keyId === current,
      ...times,
      start: Math.min(1 - width, (times.from - from) / (until - from)),
      width,
      decryptedUntil: timeOf(one.decryptedUntil),
    };
    nodes.set(node, [...(nodes.get(node) ?? []), bar]);
  }
  return {
    from,
    until,
    nodes: [...nodes]
      .map(([node, bars]) => ({ node, bars: bars.toSorted((a, b) => a.from - b.from) }))
      .toSorted((a, b) => (a.node < b.node ? -1 : 1)),
  };
}
