// FleetService: a line for each cluster, from what is known without asking anybody but Redis.
import type { KeyReport } from "@claviger/gateway-core/src/redis/key-reports.ts";
import { isSelected } from "@claviger/gateway-core/src/registry/labels.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import type { Histories } from "../histories/histories.ts";
import type { HourView } from "../histories/hour-steps.ts";
import type { KeyAccess } from "../keys/access.ts";
import { textOf } from "../fleet-view.ts";
import type { FleetMethods } from "../method.ts";
import { type NodeView, nodesOf, notSeenMs } from "../node-view.ts";
import type { Scope } from "../scope.ts";
import type { Sightings } from "../sightings.ts";
import { pageOf, selectorOf } from "./request.ts";
import { timeOf } from "./time.ts";
import { countOf } from "./status.ts";

/** Steps of ten seconds that are one of a line's, and how many of these there are. */
const [wide, shown] = [12, 30];

function nodeFields(nodes: readonly NodeView[]) {
  const live = nodes.filter(({ ageMs }) => ageMs !== undefined && ageMs < notSeenMs);
  const phases = live.flatMap(({ report }) => report?.shim?.phase ?? []);
  const seen = nodes.flatMap(({ report }) => report?.at ?? []);
  const ends = nodes.flatMap(({ condition, report }) =>
    report === undefined || condition === "revoked" || condition === "unexpected" ? [] : report.certificate.notAfter,
  );
  return {
    nodes: countOf(nodes.map(({ condition }) => condition)),
    ...(phases.length > 0 && { phase: Math.max(...phases) }),
    ...(seen.length > 0 && { lastSeen: timeOf(Math.max(...seen)) }),
    ...(ends.length > 0 && { certificateNotAfter: timeOf(Math.min(...ends)) }),
  };
}

function keyFields(report: KeyReport | undefined, maxAgeMs: number | undefined, now: number) {
  if (report === undefined) return {};
  const { state, sequence, failing = "" } = report;
  const createdAt = state.versions.get(state.minEncryption);
  return {
    keyReadAt: timeOf(sequence),
    keyLatest: state.latest,
    keyFailing: failing,
    ...(createdAt !== undefined && {
      keyVersion: state.minEncryption,
      keyCreatedAt: timeOf(createdAt * 1000),
      keyIsOld: maxAgeMs !== undefined && now - createdAt * 1000 > maxAgeMs,
    }),
  };
}

function callFields(uid: string, view: HourView | undefined) {
  if (view === undefined) return { calls: Array.from({ length: shown }, () => -1) };
  const calls = view.calls(uid, shown, wide).map((count) => count ?? -1);
  return { calls, ...(calls.some((count) => count !== -1) && { refused: view.refused(uid) }) };
}

/** @param now Unix milliseconds */
export function clusterStatusMethods({
  scope,
  sightings,
  histories,
  keys,
  now = Date.now,
}: {
  readonly scope: Scope;
  readonly sightings: Sightings;
  readonly histories: Histories;
  readonly keys: KeyAccess;
  readonly now?: () => number;
}): Pick<FleetMethods, "listClusterStatus"> {
  return {
    async listClusterStatus(request, caller) {
      const selector = selectorOf(request.selector);
      const all = await scope.all(caller);
      const { page, nextPageToken } = pageOf(request, { usual: 100, most: 1000 }, () =>
        all.filter(({ labels }) => isSelected(selector, labels)),
      );
      const [seen, hour, reports] = await Promise.all([
        sightings.nodes(page.map(({ uid }) => uid)),
        histories.hour(),
        keys.reported(page),
      ]);
      const isComplete = seen.incomplete.every(({ kind }) => kind === "refused");
      const at = now();
      const lineOf = (record: ClusterRecord) => {
        const { name, uid, state, labels, nodes } = record;
        return {
          cluster: name,
          state,
          labels: { ...labels },
          ...(nodes?.expected !== undefined && { nodesExpected: nodes.expected.length }),
          ...nodeFields(nodesOf(record, seen.nodes.get(uid) ?? [], isComplete, at)),
          ...keyFields(reports.get(uid), keys.maxAgeMs, at),
          ...callFields(uid, hour.view),
        };
      };
      return {
        clusters: page.map(lineOf),
        nextPageToken,
        at: timeOf(at),
        incomplete: [textOf(seen.incomplete), hour.incomplete, scope.problem()]
          .filter((text) => text !== "")
          .join("; "),
      };
    },
  };
}
