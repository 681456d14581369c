// FleetService: versions of a key that nothing needs any more are retired, and come back. What stands in etcd
// the caller has counted; which key_ids the nodes show the service sees for itself.
// (docs/architecture.md #rotation.)
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ClusterUsageSchema } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import { clusterUid, keyId } from "@claviger/proto/wire/names.ts";
import { unretire } from "@claviger/gateway-core/src/key/changes.ts";
import { refId } from "@claviger/gateway-core/src/key/key-id.ts";
import { keyOf } from "@claviger/gateway-core/src/registry/edit/text.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { countedOf, type KeyPlace, namesIn } from "@claviger/gateway-core/src/retirement/look.ts";
import { type Nodes, reasonsAgainst, type Retirement } from "@claviger/gateway-core/src/retirement/reasons.ts";
import type { CountedUsage } from "@claviger/gateway-core/src/retirement/usage.ts";
import type { Gate } from "../approvals/gate.ts";
import type { KeyAccess, Observed } from "../keys/access.ts";
import type { FleetMethods } from "../method.ts";
import { refuse } from "../refusal.ts";
import type { Scope } from "../scope.ts";
import { describeKey, keysOf } from "./keys.ts";
import { reasonOf } from "./request.ts";

const callMs = 10_000;
/** How old a count may be: what was written since has the new key_id, if the nodes had it then. */
const countHours = 24;
const quiet = { usual: 300, least: 300, most: 604_800 } as const;

type Request = Parameters<FleetMethods["retireKey"]>[0];
type UsageInit = MessageInitShape<typeof ClusterUsageSchema>;

/** @throws Refusal invalid_argument */
export function usageOf({ uses = [], foreign = [], damaged = [], damagedCount = 0 }: UsageInit): CountedUsage {
  return {
    uses: uses.map(({ clusterUid: uid = "", keyId: id = "", backend = "", key = "", version = 0, ...rest }) => {
      if (!clusterUid.is(uid)) throw refuse("invalid_argument", `usage.uses.cluster_uid: must be ${clusterUid.rule}`);
      if (!keyId.is(id)) throw refuse("invalid_argument", `usage.uses.key_id: must be ${keyId.rule}`);
      if (version === 0) throw refuse("invalid_argument", "usage.uses.version: must be 1 or more");
      return {
        clusterUid: uid,
        keyId: id,
        backend,
        key,
        version,
        count: rest.count ?? 0,
        examples: rest.examples ?? [],
      };
    }),
    foreign: foreign.map(({ provider = "", version = 0, count = 0, examples = [] }) => ({
      provider,
      version: version === 0 ? undefined : version,
      count,
      examples,
    })),
    damaged: Object.assign([...damaged], { length: Math.max(damagedCount, damaged.length) }),
  };
}

/** What is known of the nodes of a cluster, by the caller, the registry and Redis. */
function nodesOf({ name, nodes }: ClusterRecord, request: Request, observed: Observed): Nodes {
  const entries = observed.kind === "known" ? (observed.entries.get(name) ?? []) : [];
  if (request.nodesChecked) return { kind: "checked", entries };
  if (observed.kind === "unknown") return { kind: "blind" };
  const said = request.nodes.find(({ cluster }) => cluster === name)?.count ?? 0;
  const expected = Math.max(said, nodes?.expected?.length ?? 0);
  return expected === 0 ? { kind: "unknown" } : { kind: "observations", expected, entries };
}

function ageProblems({ usage }: Request, now: number): readonly string[] {
  return usage.flatMap(({ cluster = "", countedAt }) => {
    const hours = (now / 1000 - Number(countedAt?.seconds ?? 0n)) / 3600;
    if (countedAt === undefined) throw refuse("invalid_argument", `usage of ${cluster}: counted_at is missing`);
    return hours > countHours || hours < -1
      ? [`cluster ${cluster} was not counted within the last ${countHours} hours: count it again`]
      : [];
  });
}

/** @param gate holds what is about to be done against the two-person rule */
export function retireMethods(
  scope: Scope,
  access: KeyAccess,
  gate: Pick<Gate, "check">,
): Pick<FleetMethods, "retireKey" | "unretireKey"> {
  /** Everything that is known now. */
  const look = async (
    users: readonly ClusterRecord[],
    place: KeyPlace,
    request: Request,
    known: Pick<Retirement, "state" | "before">,
  ): Promise<{ readonly reasons: readonly string[]; readonly unknown: string }> => {
    const observed = await access.observe(users);
    const now = Date.now();
    const usages = new Map(request.usage.map((one) => [one.cluster ?? "", one]));
    const clusters = users.map((user) => {
      const counted = usages.get(user.name);
      return countedOf(user, place, known, {
        usage: counted === undefined ? undefined : usageOf(counted),
        isFromSnapshot: counted?.fromSnapshot ?? false,
        nodes: nodesOf(user, request, observed),
      });
    });
    const reasons = reasonsAgainst({
      ...known,
      clusters,
      names: namesIn(users, place),
      otherKeys: new Set(request.otherKeys),
      backends: new Set(Object.keys(access.backends)),
      areSnapshotsChecked: request.snapshotsChecked,
      quietMs: (request.quietSeconds === 0 ? quiet.usual : request.quietSeconds) * 1000,
      now,
    });
    const unknown =
      observed.kind === "known" ? "" : `whether a node still decrypts under an earlier key_id (${observed.why})`;
    return { reasons: [...ageProblems(request, now), ...reasons], unknown };
  };

  return {
    async retireKey(request, caller, subject) {
      const { name, quietSeconds, beforeVersion, usage, dryRun } = request;
      subject.because = reasonOf(request.reason);
      if (quietSeconds !== 0 && (quietSeconds < quiet.least || quietSeconds > quiet.most))
        throw refuse("invalid_argument", `quiet_seconds: must be ${quiet.least} to ${quiet.most}`);
      const record = await scope.one(caller, name, subject);
      const ref = keyOf(record);
      const place = { ref, backends: access.backends };
      const users = await scope.users(caller, record, place);
      const stranger = usage.find(({ cluster }) => !users.some((user) => user.name === cluster));
      if (stranger !== undefined)
        throw refuse("invalid_argument", `usage: cluster ${stranger.cluster ?? ""} does not use the key of ${name}`);
      const state = await describeKey(access, ref);
      const before = beforeVersion === 0 ? state.minEncryption : beforeVersion;
      if (before <= state.minDecryption)
        return { keys: await keysOf(access, record), fromVersion: 0, toVersion: 0, unknown: "" };
      const known = { state, before };
      const { reasons, unknown } = await look(users, place, request, known);
      if (reasons.length > 0)
        throw refuse(
          "failed_precondition",
          [`the versions below ${before} of ${refId(ref)} are not retired:`, ...reasons].join("\n  - "),
        );
      const versions = { fromVersion: state.minDecryption, toVersion: before - 1, unknown };
      if (dryRun) return { keys: await keysOf(access, record), ...versions };
      gate.check(["retire-key"], ...users);
      const backend = access.backendOf(ref);
      await backend.setMinDecryption(ref, before, AbortSignal.timeout(callMs));
      // A node that decrypted meanwhile under an earlier key_id needs it: look again, and take it back.
      const late = (await look(users, place, request, known)).reasons;
      if (late.length > 0) {
        await backend.setMinDecryption(ref, state.minDecryption, AbortSignal.timeout(callMs));
        throw refuse(
          "failed_precondition",
          [`the versions below ${before} of ${refId(ref)} were retired, and are back:`, ...late].join("\n  - "),
        );
      }
      return { keys: await keysOf(access, record), ...versions };
    },
    async unretireKey({ name, fromVersion, reason }, caller, subject) {
      subject.because = reasonOf(reason);
      if (fromVersion === 0) throw refuse("invalid_argument", "from_version: must be 1 or more");
      const record = await scope.one(caller, name, subject);
      const users = await scope.users(caller, record);
      const ref = keyOf(record);
      gate.check(["unretire-key"], ...users);
      const changed = await unretire(access.backendOf(ref), ref, fromVersion);
      return { keys: await keysOf(access, record), changed };
    },
  };
}
