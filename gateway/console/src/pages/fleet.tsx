// All clusters: a table to filter and sort.
import { useMemo } from "preact/hooks";
import { formatSpan } from "../model/age.ts";
import { formatCount, plural } from "../model/count.ts";
import { type FleetQuery, filterRows, parseQuery, queryParams, type SortKey, sortRows } from "../model/fleet-query.ts";
import { hrefs } from "../model/route.ts";
import type { FleetRow } from "../model/row.ts";
import { clusterState } from "../model/tone.ts";
import { Failure, Incomplete, ReadAge } from "../view/loaded.tsx";
import { Page } from "../view/page.tsx";
import { Sparkline } from "../view/sparkline.tsx";
import { Age, Count, Labels, StatusWord, Unknown } from "../view/status.tsx";
import { useResource, useStore } from "../view/use-store.ts";
import { type Column, WindowTable } from "../view/window-table.tsx";

function KeyAge({ row: { keyVersion, keyCreated, isKeyOld } }: { readonly row: FleetRow }) {
  const { clock } = useStore();
  if (keyVersion === undefined) return <Unknown />;
  const age = keyCreated === undefined ? "age unknown" : formatSpan(clock.now.value - keyCreated);
  return isKeyOld ? <StatusWord tone="warning" word={`v${keyVersion}, ${age}`} /> : <>{`v${keyVersion}, ${age}`}</>;
}

function Seen({ row: { seen, expected, lastSeen } }: { readonly row: FleetRow }) {
  if (seen === 0 && lastSeen === undefined && expected === undefined) return <Unknown />;
  return <>{expected === undefined ? `${seen} (any name)` : `${seen} of ${expected}`}</>;
}

const columns: readonly Column<FleetRow, SortKey>[] = [
  { title: "Cluster", sort: "name", cell: ({ name }) => <a href={hrefs.cluster(name)}>{name}</a> },
  { title: "State", sort: "state", cell: ({ state }) => <StatusWord {...clusterState(state)} /> },
  { title: "Condition", sort: "health", cell: ({ health }) => <StatusWord {...health} /> },
  { title: "Key", sort: "keyAge", cell: (row) => <KeyAge row={row} /> },
  { title: "Nodes seen", sort: "seen", isNumber: true, cell: (row) => <Seen row={row} /> },
  {
    title: "Phase",
    sort: "phase",
    isNumber: true,
    cell: ({ phase }) => (phase === undefined ? <Unknown /> : String(phase)),
  },
  { title: "First expiry", sort: "expiry", cell: ({ certificateUntil }) => <Age at={certificateUntil} /> },
  { title: "Refused, 1 h", sort: "refused", isNumber: true, cell: ({ refused }) => <Count value={refused} /> },
  {
    title: "Calls, 1 h",
    sort: "calls",
    cell: ({ calls, callsTotal }) => <Sparkline values={calls} total={callsTotal} />,
  },
  { title: "Labels", cell: ({ labels }) => <Labels labels={labels} /> },
];

const none: readonly FleetRow[] = [];
const states = ["active", "decrypt-only", "suspended"] as const;

function Filters({ query, onChange }: { readonly query: FleetQuery; readonly onChange: (query: FleetQuery) => void }) {
  return (
    <form class="filters" role="search" aria-label="Clusters" onSubmit={(event) => event.preventDefault()}>
      <label>
        Name or labels
        <input
          type="search"
          value={query.text}
          placeholder="prod team=payments"
          onInput={({ currentTarget }) => onChange({ ...query, text: currentTarget.value })}
        />
      </label>
      <label>
        State
        <select
          value={query.state}
          onChange={({ currentTarget }) => onChange({ ...query, state: currentTarget.value })}
        >
          <option value="">all</option>
          {states.map((state) => (
            <option key={state} value={state}>
              {state}
            </option>
          ))}
        </select>
      </label>
      <label class="check">
        <input
          type="checkbox"
          checked={query.isWrong}
          onChange={({ currentTarget }) => onChange({ ...query, isWrong: currentTarget.checked })}
        />
        Only what is not well or not known
      </label>
    </form>
  );
}

export function FleetPage({
  params,
  onParams,
}: {
  readonly params: URLSearchParams;
  /** Puts what is asked for into the address of the page. */
  readonly onParams: (params: Readonly<Record<string, string>>) => void;
}) {
  const { fleet } = useStore();
  const state = useResource(fleet);
  const query = parseQuery(params);
  const { text, state: wanted, isWrong, sort, isDescending } = query;
  const rows = state.value?.rows ?? none;
  // Whoever types a filter does not wait for a sort.
  const sorted = useMemo(() => sortRows(rows, query), [rows, sort, isDescending]);
  const found = useMemo(() => filterRows(sorted, query), [sorted, text, wanted, isWrong]);
  const change = (next: FleetQuery): void => onParams(queryParams(next));
  const onSort = (key: SortKey): void => change({ ...query, sort: key, isDescending: key === sort && !isDescending });
  return (
    <Page title="Fleet" head={<ReadAge at={state.at} />}>
      <Failure state={state} />
      <Incomplete text={state.value?.incomplete} />
      <Filters query={query} onChange={change} />
      <p class="muted" role="status">
        {state.value === undefined
          ? "Reading …"
          : `${formatCount(found.length)} of ${plural(rows.length, "cluster")}${state.value.isWhole ? "" : ", reading more …"}`}
      </p>
      <WindowTable
        caption="Clusters"
        rows={found}
        columns={columns}
        keyOf={({ name }) => name}
        sort={sort}
        isDescending={isDescending}
        onSort={onSort}
      />
    </Page>
  );
}
