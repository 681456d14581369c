// A cluster as a row of the fleet's table: what is shown of it, and what it is sorted and found by. A row is made
// once for each answer, so that a filter over ten thousand of them compares text that is there.
import type { ClusterStatus } from "../api/json.ts";
import { timeOf } from "./age.ts";
import { clusterState, outagePhase, type Status, worst } from "./tone.ts";

export type FleetRow = {
  readonly name: string;
  readonly state: string;
  readonly labels: readonly string[];
  /** In lower case: the name, and each label. */
  readonly text: string;
  /** Nodes that gateways have seen in the last three minutes, whatever they said. */
  readonly seen: number;
  /** Undefined where any name is good. */
  readonly expected: number | undefined;
  readonly nodes: Readonly<Record<string, number>>;
  readonly phase: number | undefined;
  readonly lastSeen: number | undefined;
  readonly certificateUntil: number | undefined;
  readonly keyVersion: number | undefined;
  readonly keyCreated: number | undefined;
  readonly keyRead: number | undefined;
  readonly keyLatest: number | undefined;
  readonly isKeyOld: boolean;
  readonly keyFailing: string;
  /** undefined for a step of which nothing is known. */
  readonly calls: readonly (number | undefined)[];
  readonly callsTotal: number | undefined;
  readonly refused: number | undefined;
  readonly health: Status;
};

function nodesHealth(nodes: FleetRow["nodes"]): readonly Status[] {
  const has = (condition: string): boolean => (nodes[condition] ?? 0) > 0;
  return [
    ...(has("missing") ? [{ tone: "warning", word: "node missing" } as const] : []),
    ...(has("not_seen") ? [{ tone: "warning", word: "node not seen" } as const] : []),
    ...(has("unknown") ? [{ tone: "unknown", word: "node unknown" } as const] : []),
  ];
}

/** How a cluster is: that of one that may not ask is its state. */
function healthOf(row: Omit<FleetRow, "health" | "text">): Status {
  if (row.state !== "active") return clusterState(row.state);
  const phase = outagePhase(row.phase);
  const found: Status[] = [...nodesHealth(row.nodes)];
  if (row.keyFailing !== "") found.push({ tone: "critical", word: `key: ${row.keyFailing} fails` });
  if (row.phase !== undefined && row.phase > 0) found.push({ tone: phase.tone, word: `outage, phase ${row.phase}` });
  if (row.isKeyOld) found.push({ tone: "warning", word: "key too old" });
  if (row.seen === 0) found.push({ tone: "unknown", word: "no node seen" });
  return worst(found);
}

export function rowOf(status: ClusterStatus): FleetRow {
  const { cluster: name = "", state = "", nodes = {}, calls: steps = [] } = status;
  const labels = Object.entries(status.labels ?? {})
    .map(([key, value]) => `${key}=${value ?? ""}`)
    .toSorted();
  const calls = steps.map((count) => (count < 0 ? undefined : count));
  const known = calls.filter((count) => count !== undefined);
  const counts: Record<string, number> = {};
  for (const [condition, count = 0] of Object.entries(nodes)) counts[condition] = count;
  const row = {
    name,
    state,
    labels,
    seen: (counts["ok"] ?? 0) + (counts["outage"] ?? 0),
    expected: status.nodesExpected,
    nodes: counts,
    phase: status.phase,
    lastSeen: timeOf(status.lastSeen),
    certificateUntil: timeOf(status.certificateNotAfter),
    keyVersion: status.keyVersion,
    keyCreated: timeOf(status.keyCreatedAt),
    keyRead: timeOf(status.keyReadAt),
    keyLatest: status.keyLatest,
    isKeyOld: status.keyIsOld ?? false,
    keyFailing: status.keyFailing ?? "",
    calls,
    callsTotal: known.length === 0 ? undefined : known.reduce((sum, count) => sum + count, 0),
    refused: status.refused,
  };
  return { ...row, text: [name, ...labels].join("\n").toLowerCase(), health: healthOf(row) };
}

/** The row after its record has changed, until the next answer says all. */
export function withRecord(
  row: FleetRow,
  {
    state = "",
    labels = {},
  }: { readonly state?: string; readonly labels?: Readonly<Record<string, string | undefined>> },
): FleetRow {
  const texts = Object.entries(labels)
    .map(([key, value]) => `${key}=${value ?? ""}`)
    .toSorted();
  const next = { ...row, state, labels: texts };
  return { ...next, text: [row.name, ...texts].join("\n").toLowerCase(), health: healthOf(next) };
}
