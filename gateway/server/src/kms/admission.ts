// May this caller do that now? A table, default deny, and a rate. Decided before a request's body is
// read. (docs/architecture.md #identity and #registry.)
import type { Identity } from "@claviger/gateway-core/src/identity.ts";
import { mayIssue, nodeRefusal } from "@claviger/gateway-core/src/registry/nodes.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import type { Serves } from "@claviger/gateway-core/src/registry/labels.ts";
import type { RegistryStore } from "@claviger/gateway-core/src/registry/port.ts";
import { raceAbort } from "@claviger/proto/runtime/abort.ts";
import { type EpochMac, createEpochMac, type SeenEpoch } from "@claviger/gateway-core/src/key/epoch-mac.ts";
import type { Epoch, EpochClaim } from "@claviger/proto/wire/epoch.ts";
import { KmsError, type Reason } from "@claviger/proto/wire/errors.ts";
import { createBuckets } from "@claviger/proto/runtime/buckets.ts";
import type { ClusterUid, NodeName } from "@claviger/proto/wire/names.ts";

/** What a method asks for. `none` is a method that does not exist. */
export type Operation = "status" | "encrypt" | "decrypt" | "none";

export type Admitted = { readonly cluster: ClusterRecord; readonly node: NodeName };

export interface Admission {
  /**
   * The record of the caller's cluster, which may do this now. Every request counts against the
   * rate of its cluster, whatever becomes of it.
   * @throws KmsError identity_invalid (an operator), issuer_not_allowed, cluster_not_served, node_revoked,
   * node_unexpected, cluster_unknown, cluster_suspended, cluster_decrypt_only, method_unknown, overloaded
   * (beyond the rate)
   */
  admit(identity: Identity, operation: Operation): Admitted;
  /** The caller's cluster; undefined where the registry has none that this caller may speak for. */
  clusterOf(identity: Identity): ClusterUid | undefined;
  /** What the caller has seen of its cluster; undefined for a cluster that is not in the registry. */
  seen(identity: Identity, claim: EpochClaim | undefined): SeenEpoch | undefined;
  /** Has the caller seen a newer generation of its cluster than the registry names? */
  isBehind(identity: Identity, seen: SeenEpoch | undefined): boolean;
  /**
   * Undefined where the registry says what it knows of the caller's cluster; else a promise for the
   * moment when it does. Never rejects.
   */
  ready(identity: Identity): Promise<void> | undefined;
  /** Reads the caller's record again. Resolves within a second. Never rejects. */
  catchUp(identity: Identity): Promise<void>;
  /**
   * What a reply says of the caller's cluster; undefined for one that is not in the registry.
   * @param epoch undefined: its generation alone, which stands on a refusal, so that another gateway
   * that the shim asks learns whether it is behind
   */
  claim(identity: Identity, epoch: Epoch | undefined): EpochClaim | undefined;
  /**
   * Counts the further calls of a batch.
   * @throws KmsError overloaded when they are beyond the rate
   */
  charge(cluster: ClusterRecord, calls: number): void;
}

type State = ClusterRecord["state"];

// A decrypt-only cluster has no Status either: a good one would let an apiserver go on writing under
// the seed that it holds.
const allowed: Readonly<Record<State, Readonly<Record<Exclude<Operation, "none">, "yes" | Reason>>>> = {
  active: { status: "yes", encrypt: "yes", decrypt: "yes" },
  "decrypt-only": { status: "cluster_decrypt_only", encrypt: "cluster_decrypt_only", decrypt: "yes" },
  suspended: { status: "cluster_suspended", encrypt: "cluster_suspended", decrypt: "cluster_suspended" },
};

/** A storm after a restart of many apiservers passes; one that lasts is refused. */
const burstSeconds = 10;
/** For whoever has no record that says another rate. */
const strangerPerSecond = 50;
/** The longest wait for a registry that is read again. */
const catchUpMs = 1000;

export function createAdmission({
  registry,
  serves = () => true,
  epochMac = createEpochMac(),
  now = () => performance.now(),
}: {
  readonly registry: RegistryStore;
  /** The clusters of this gateway's cell. */
  readonly serves?: Serves;
  readonly epochMac?: EpochMac;
  /** Monotonic milliseconds */
  readonly now?: () => number;
}): Admission {
  const buckets = createBuckets(now);
  const take = (name: string, perSecond: number, calls: number): void => {
    const bucket = buckets.of(name, { perSecond, full: perSecond * burstSeconds });
    if (bucket.tokens < calls)
      throw new KmsError("overloaded", { cause: new Error(`the rate of ${perSecond} calls a second is used up`) });
    bucket.tokens -= calls;
  };

  /** Whoever is refused must not use up the cluster's rate. @throws KmsError overloaded */
  const refused = (bucket: string, reason: Reason): KmsError => {
    take(bucket, strangerPerSecond, 1);
    return new KmsError(reason);
  };

  const recordOf = (identity: Identity): ClusterRecord | undefined => {
    try {
      const record = identity.kind === "node" ? registry.get(identity.cluster) : undefined;
      // To a certificate of another CA nothing is said of the cluster, and nothing of it is believed.
      return record !== undefined && mayIssue(record, identity) ? record : undefined;
    } catch {
      // There is no registry yet; `admit` says so.
      return undefined;
    }
  };

  return {
    admit(identity, operation) {
      switch (identity.kind) {
        case "operator":
          take(`operator/${identity.operator}`, strangerPerSecond, 1);
          throw new KmsError("identity_invalid", { cause: new Error("an operator's certificate on the KMS listener") });
        case "node": {
          const cluster = registry.get(identity.cluster);
          if (cluster !== undefined) {
            const { uid } = cluster;
            if (!mayIssue(cluster, identity)) throw refused(`issuer/${uid}`, "issuer_not_allowed");
            // Before all else of the record: whether it may do that, the gateways of its cell decide.
            if (!serves(cluster)) throw refused(`unserved/${uid}`, "cluster_not_served");
            const refusal = nodeRefusal(cluster, identity);
            if (refusal !== undefined) throw refused(`refused/${uid}`, refusal);
          }
          take(
            cluster === undefined ? `unknown/${identity.cluster}` : cluster.uid,
            cluster?.limits.requestsPerSecond ?? strangerPerSecond,
            1,
          );
          if (cluster === undefined) throw new KmsError("cluster_unknown");
          if (operation === "none") throw new KmsError("method_unknown");
          const answer = allowed[cluster.state][operation];
          if (answer !== "yes") throw new KmsError(answer);
          return { cluster, node: identity.node };
        }
      }
    },
    clusterOf: (identity) => recordOf(identity)?.uid,
    seen(identity, claim) {
      const known = recordOf(identity);
      return known === undefined ? undefined : epochMac.read(known.uid, claim);
    },
    isBehind: (identity, seen) => seen !== undefined && seen.epoch[0] > (recordOf(identity)?.generation ?? 0),
    claim(identity, epoch) {
      const known = recordOf(identity);
      return known === undefined ? undefined : epochMac.sign(known.uid, epoch ?? [known.generation, 0, 0]);
    },
    ready: (identity) => (identity.kind === "node" ? registry.load(identity.cluster) : undefined),
    async catchUp(identity) {
      const name = identity.kind === "node" ? identity.cluster : undefined;
      try {
        await raceAbort(registry.refresh(name), AbortSignal.timeout(catchUpMs));
      } catch {
        // Admission and the service say what that means.
      }
    },
    charge({ uid, limits }, calls) {
      if (calls > 0) take(uid, limits.requestsPerSecond, calls);
    },
  };
}
