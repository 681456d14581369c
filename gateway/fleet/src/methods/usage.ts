// FleetService: what operators have counted in the etcds of clusters, for those who look at their keys.
import type { FleetMethods } from "../method.ts";
import type { KeyFactReader } from "../keys/facts.ts";
import { refuse } from "../refusal.ts";
import type { Scope } from "../scope.ts";
import { asOperator } from "./request.ts";
import { usageOf } from "./retire.ts";

const dayMs = 86_400_000;
/** So far clocks may differ. */
const leewayMs = 60_000;
/** Key versions of one cluster: one is rotated away a day, at most. */
const mostUses = 500;

/** @param now Unix milliseconds */
export function usageMethods(
  scope: Scope,
  facts: Pick<KeyFactReader, "keepUsage">,
  now: () => number = Date.now,
): Pick<FleetMethods, "reportKeyUsage"> {
  return {
    async reportKeyUsage({ usage }, caller, subject) {
      if (usage?.countedAt === undefined) throw refuse("invalid_argument", "usage.counted_at: is missing");
      const { cluster = "", fromSnapshot = false } = usage;
      const countedAt = Number(usage.countedAt.seconds ?? 0n) * 1000;
      if (countedAt > now() + leewayMs || countedAt < now() - dayMs)
        throw refuse("invalid_argument", "usage.counted_at: must be within the last 24 hours; do the clocks differ?");
      const { uses, foreign, damaged } = usageOf(usage);
      if (uses.length > mostUses) throw refuse("invalid_argument", `usage.uses: must be at most ${mostUses}`);
      const { uid } = await scope.one(caller, cluster, subject);
      await facts.keepUsage(uid, {
        countedAt,
        countedBy: asOperator(caller).operator,
        isFromSnapshot: fromSnapshot,
        // Examples are names of objects: nobody who looks at keys needs them.
        uses: uses.map(({ clusterUid, backend, key, version, keyId, count }) => ({
          clusterUid,
          backend,
          key,
          version,
          keyId,
          count,
        })),
        foreign: foreign.reduce((sum, { count }) => sum + count, 0),
        damaged: damaged.length,
      });
      return {};
    },
  };
}
