// What is asked of the fleet's table: which rows, and in which order. Stands in the address of the page.
import type { FleetRow } from "./row.ts";
import { tones } from "./tone.ts";

export const sortKeys = ["name", "state", "health", "keyAge", "seen", "phase", "expiry", "refused", "calls"] as const;
export type SortKey = (typeof sortKeys)[number];

export type FleetQuery = {
  /** Words that all have to stand in the name or in a label: `payments env=prod`. */
  readonly text: string;
  /** Empty for all. */
  readonly state: string;
  /** Only clusters of which something is not as it should be. */
  readonly isWrong: boolean;
  readonly sort: SortKey;
  readonly isDescending: boolean;
};

function isSortKey(text: string): text is SortKey {
  return (sortKeys as readonly string[]).includes(text);
}

export function parseQuery(params: URLSearchParams): FleetQuery {
  const sort = params.get("sort") ?? "";
  return {
    text: params.get("q") ?? "",
    state: params.get("state") ?? "",
    isWrong: params.get("wrong") === "1",
    sort: isSortKey(sort) ? sort : "name",
    isDescending: params.get("order") === "desc",
  };
}

/** What differs from a table that nobody has asked anything of. */
export function queryParams({
  text,
  state,
  isWrong,
  sort,
  isDescending,
}: FleetQuery): Readonly<Record<string, string>> {
  return {
    ...(text !== "" && { q: text }),
    ...(state !== "" && { state }),
    ...(isWrong && { wrong: "1" }),
    ...(sort !== "name" && { sort }),
    ...(isDescending && { order: "desc" }),
  };
}

export function filterRows(rows: readonly FleetRow[], { text, state, isWrong }: FleetQuery): readonly FleetRow[] {
  const words = text
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "");
  return rows.filter(
    (row) =>
      (state === "" || row.state === state) &&
      (!isWrong || (row.health.tone !== "good" && row.health.tone !== "off")) &&
      words.every((word) => row.text.includes(word)),
  );
}

type Value = string | number | undefined;

function healthRank({ health }: FleetRow): number {
  return tones.indexOf(health.tone);
}

const values: Readonly<Record<SortKey, (row: FleetRow) => Value>> = {
  name: ({ name }) => name,
  state: ({ state }) => state,
  health: healthRank,
  // The oldest has the lowest time: ascending is the youngest first, as with every other age.
  keyAge: ({ keyCreated }) => (keyCreated === undefined ? undefined : -keyCreated),
  seen: ({ seen, expected }) => (expected === undefined || expected === 0 ? seen : seen / expected),
  phase: ({ phase }) => phase,
  expiry: ({ certificateUntil }) => certificateUntil,
  refused: ({ refused }) => refused,
  calls: ({ callsTotal }) => callsTotal,
};

/** In the order that is asked for; what is not known comes last in either, and equals go by name. */
export function sortRows(
  rows: readonly FleetRow[],
  { sort, isDescending }: Pick<FleetQuery, "sort" | "isDescending">,
): readonly FleetRow[] {
  const valueOf = values[sort];
  const sign = isDescending ? -1 : 1;
  const keyed = rows.map((row) => ({ row, value: valueOf(row) }));
  keyed.sort((a, b) => {
    if (a.value !== b.value) {
      if (a.value === undefined) return 1;
      if (b.value === undefined) return -1;
      return a.value < b.value ? -sign : sign;
    }
    return a.row.name < b.row.name ? -1 : a.row.name > b.row.name ? 1 : 0;
  });
  return keyed.map(({ row }) => row);
}
