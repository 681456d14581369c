// Durations as people write them in configuration: 500ms, 10s, 5m, 1h.

const units = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;

/** Milliseconds of `500ms`, `10s`, `1.5m` or `2h`; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text);
  if (match === null) return undefined;
  const ms = Math.round(Number(match[1]) * units[match[2] as keyof typeof units]);
  return Number.isSafeInteger(ms) ? ms : undefined;
}
