// May this caller do that now? A table, default deny. (docs/architecture.md #identity and
// #registry.)
import { KmsError } from "@claviger/proto/wire/errors.ts";
import type { ClusterUid } from "@claviger/proto/wire/names.ts";
import type { RegistryStore } from "@claviger/gateway-core/src/registry/watched-registry.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import type { Call } from "./call.ts";

export type Operation = "status" | "encrypt" | "decrypt";

export interface Admission {
  /**
   * The record of the caller's cluster, which may do this now.
   * @throws KmsError identity_invalid, cluster_unknown, cluster_suspended, cluster_decrypt_only,
   * overloaded (beyond its rate)
   */
  admit(call: Call, operation: Operation): ClusterRecord;
}

// A decrypt-only cluster has no Status either: a good one would let an apiserver go on writing
// under the seed that it holds.
const allowed: Readonly<
  Record<ClusterRecord["state"], Readonly<Record<Operation, "yes" | "cluster_suspended" | "cluster_decrypt_only">>>
> = {
  active: { status: "yes", encrypt: "yes", decrypt: "yes" },
  "decrypt-only": { status: "cluster_decrypt_only", encrypt: "cluster_decrypt_only", decrypt: "yes" },
  suspended: { status: "cluster_suspended", encrypt: "cluster_suspended", decrypt: "cluster_suspended" },
};

const burstSeconds = 10;

export function createAdmission({
  registry,
  now = Date.now,
}: {
  readonly registry: RegistryStore;
  readonly now?: () => number;
}): Admission {
  // A token bucket each, seconds deep: the storm after a restart of many apiservers passes, one
  // that lasts is refused here before it costs the others anything; within the bound the dispatcher
  // shares what there is. (rate-limiter-flexible would do, but each of its answers is a promise;
  // admission is not worth a turn of the event loop.)
  const buckets = new Map<ClusterUid, { tokens: number; at: number }>();
  const isWithinRate = ({ uid, limits }: ClusterRecord): boolean => {
    const full = limits.requestsPerSecond * burstSeconds;
    const bucket = buckets.get(uid) ?? { tokens: full, at: now() };
    buckets.set(uid, bucket);
    const elapsed = Math.max(0, now() - bucket.at);
    bucket.tokens = Math.min(full, bucket.tokens + (elapsed * limits.requestsPerSecond) / 1000);
    bucket.at = now();
    if (bucket.tokens < 1) return false;
    bucket.tokens -= 1;
    return true;
  };

  return {
    admit({ identity, trail }, operation) {
      switch (identity.kind) {
        case "operator":
          throw new KmsError("identity_invalid", { cause: new Error("an operator's certificate on the KMS listener") });
        case "node": {
          trail.cluster = identity.cluster;
          trail.node = identity.node;
          const cluster = registry.get(identity.cluster);
          if (cluster === undefined) throw new KmsError("cluster_unknown");
          const answer = allowed[cluster.state][operation];
          if (answer !== "yes") throw new KmsError(answer);
          if (!isWithinRate(cluster))
            throw new KmsError("overloaded", { cause: new Error("requestsPerSecond is used up") });
          return cluster;
        }
      }
    },
  };
}
