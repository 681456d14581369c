// FleetService: histories in numbers, and which node was shown which key_id when.
import type * as pb from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { KeyState } from "@claviger/gateway-core/src/backend/port.ts";
import { deriveKeyId } from "@claviger/gateway-core/src/key/key-id.ts";
import type { Observation } from "@claviger/gateway-core/src/redis/observations.ts";
import { keyOf } from "@claviger/gateway-core/src/registry/edit/text.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import type { Histories } from "../histories/histories.ts";
import type { SeriesName } from "../histories/months.ts";
import type { Point } from "../histories/point.ts";
import type { KeyAccess } from "../keys/access.ts";
import type { FleetMethods } from "../method.ts";
import { refuse, toRefusal } from "../refusal.ts";
import type { Scope } from "../scope.ts";
import { describeKey } from "./keys.ts";
import { asOperator } from "./request.ts";
import { timeOf } from "./time.ts";

const gatewayName = /^[\w.:[\]-]{1,300}$/;

function pointMessage(point: Point): MessageInitShape<typeof pb.HistoryPointSchema> {
  const { at, knownMs, gateways, calls, refusals, nodes, eventLoop, connections, down, latency, batches } = point;
  const [status, encrypt, decrypt] = calls;
  return {
    at: timeOf(at),
    knownSeconds: knownMs / 1000,
    gateways,
    calls: { status, encrypt, decrypt },
    refusals: { ...refusals },
    ...(nodes !== undefined && { nodesSeen: nodes }),
    ...(eventLoop !== undefined && { eventLoop }),
    ...(connections !== undefined && { connections }),
    addressesDown: [...(down ?? [])],
    latencyMilliseconds: { ...latency },
    ...(batches !== undefined && { batches: batches[0], batchItems: batches[1] }),
  };
}

/** The version of each key_id that the key as it is can have. */
function versionsOf({ uid, keys: [ref] }: ClusterRecord, { versions }: KeyState): ReadonlyMap<string, number> {
  if (ref === undefined) return new Map();
  return new Map(
    [...versions].map(([version, createdAt]) => [deriveKeyId(uid, [{ ref, version, createdAt }]), version]),
  );
}

function shownOf(
  observations: readonly Observation[],
  versions: ReadonlyMap<string, number>,
): MessageInitShape<typeof pb.KeyShownSchema>[] {
  const byKey = new Map<string, { node: string; keyId: string; shown?: Observation; decrypted?: Observation }>();
  for (const one of observations) {
    const id = `${one.node}/${one.keyId}`;
    const found = byKey.get(id) ?? { node: one.node, keyId: one.keyId };
    byKey.set(id, one.event === "reported" ? { ...found, shown: one } : { ...found, decrypted: one });
  }
  const beginOf = ({ shown, decrypted }: { shown?: Observation; decrypted?: Observation }): number =>
    Math.min(shown?.since ?? Number.POSITIVE_INFINITY, decrypted?.since ?? Number.POSITIVE_INFINITY);
  return [...byKey.values()]
    .toSorted((a, b) => (a.node === b.node ? beginOf(a) - beginOf(b) : a.node < b.node ? -1 : 1))
    .map(({ node, keyId, shown, decrypted }) => ({
      node,
      keyId,
      version: versions.get(keyId) ?? 0,
      ...(shown && { shownFrom: timeOf(shown.since), shownUntil: timeOf(shown.at) }),
      ...(decrypted && { decryptedFrom: timeOf(decrypted.since), decryptedUntil: timeOf(decrypted.at) }),
    }));
}

export function historyMethods(
  scope: Scope,
  histories: Histories,
  keys: KeyAccess,
): Pick<FleetMethods, "getHistory" | "getKeyTimeline"> {
  return {
    async getHistory({ cluster, gateway, period }, caller, subject) {
      if (period !== "hour" && period !== "month") throw refuse("invalid_argument", "period: must be hour or month");
      if (cluster !== "" && gateway !== "") throw refuse("invalid_argument", "give a cluster or a gateway, not both");
      if (gateway !== "" && !gatewayName.test(gateway))
        throw refuse("invalid_argument", "gateway: must be the name of a gateway, HOST:PORT");
      let series: SeriesName;
      if (cluster === "") {
        const { operator, clusters } = asOperator(caller);
        if (clusters !== "")
          throw refuse(
            "permission_denied",
            `the history of the fleet is for those whose role is for all clusters; that of ${operator} is for ${clusters}`,
          );
        series = gateway === "" ? "fleet" : `gateway/${gateway}`;
      } else series = `cluster/${(await scope.one(caller, cluster, subject)).uid}`;
      const { points, stepMs, from, until, incomplete } = await histories.of(series, period);
      return {
        points: points.map(pointMessage),
        stepSeconds: stepMs / 1000,
        from: timeOf(from),
        until: timeOf(until),
        incomplete,
      };
    },
    async getKeyTimeline({ cluster }, caller, subject) {
      const record = await scope.one(caller, cluster, subject);
      const missing: string[] = [];
      const observed = await keys.observe([record]);
      if (observed.kind === "unknown") missing.push(`what the nodes were shown is not known: ${observed.why}`);
      let [versions, currentKeyId]: [ReadonlyMap<string, number>, string] = [new Map(), ""];
      try {
        const state = await describeKey(keys, keyOf(record));
        versions = versionsOf(record, state);
        const createdAt = state.versions.get(state.minEncryption);
        if (createdAt !== undefined)
          currentKeyId = deriveKeyId(record.uid, [{ ref: keyOf(record), version: state.minEncryption, createdAt }]);
      } catch (error) {
        missing.push(`which versions there are is not known: ${toRefusal(error).message}`);
      }
      const entries = observed.kind === "known" ? (observed.entries.get(record.name) ?? []) : [];
      return { shown: shownOf(entries, versions), currentKeyId, incomplete: missing.join("; ") };
    },
  };
}
