// Brings one key to where it should be: reads it, asks decidePromotion, does what that says, and reads
// again. Transit has no check-and-set, so whoever sees a value too low writes it once more; one replica
// does it for the fleet, the others hear of it. (docs/architecture.md #keys and #rotation.)
import { setTimeout as sleep } from "node:timers/promises";
import { KmsError, rowOf, toKmsError } from "@claviger/proto/wire/errors.ts";
import type { KeyRef, KeyState, OpenBackend } from "@claviger/gateway-core/src/backend/port.ts";
import { type Decision, decidePromotion, type PromotedVersion } from "@claviger/gateway-core/src/key/promotion.ts";
import { keyPath, refId } from "@claviger/gateway-core/src/key/key-id.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { createNovelty } from "@claviger/proto/runtime/novelty.ts";
import { runCanary } from "./canary.ts";
import type { SharedKeyCache } from "./shared-key-cache.ts";

/** How a pass over the key ended. */
export type Reconciled = {
  /** What the backend said last. */
  readonly state: KeyState;
  /** Milliseconds until the next pass is due; absent when the interval will do. */
  readonly retryInMs?: number;
  /** A new version was tried both ways, and works. */
  readonly hasTried: boolean;
};

export interface Promoter {
  /** What encrypts, as far as is known. */
  promoted(): PromotedVersion | undefined;
  /** Takes what another replica is known to have promoted. */
  accept(next: PromotedVersion): void;
  /** Takes a version for promoted that some gateway has shown, whatever the backend says of it now. */
  believe(shown: PromotedVersion): void;
  /**
   * What the key's state asks for, given what is known.
   * @param state as read by this replica or another one
   */
  decide(state: KeyState): Decision;
  /** The newest version, where it is not promoted because that failed. */
  failed(): number | undefined;
  /** @throws KmsError why the key cannot be used: what the backend says, key_rolled_back, key_unpinned */
  reconcile(): Promise<Reconciled>;
}

const callMs = 5000;
/** A lost version that is further away is an operator's matter, who raises the generation. */
const maxRotations = 100;
/** Versions that a replica makes of its own accord: what a rotation did not cure, the next one would not. */
const rotateEveryMs = 3_600_000;
const maxSteps = 8;
/** A promotion takes some 20 ms. A lease saves work and is never a lock. */
const leaseMs = 400;
/** Whatever Redis says of a lease, nobody waits longer for its holder. */
const leaseWaitMs = 900;
/** Times that a write is repeated at once, and the pause before, milliseconds: another one's write was under way. */
const maxRepeats = 4;
const repeatMs = 20;
const repeatJitterMs = 60;
/** The first pause before a promotion that failed is tried anew; it doubles up to the interval. */
const retryMs = 400;

export function createPromoter({
  backend,
  ref,
  isAuto,
  generation,
  sharedCache,
  refreshMs,
  log,
  now,
}: {
  readonly backend: OpenBackend;
  readonly ref: KeyRef;
  readonly isAuto: () => boolean;
  /** A raised one gives up what was lost. */
  readonly generation: () => number;
  readonly sharedCache: SharedKeyCache;
  /** The longest pause before a promotion that failed is tried anew. */
  readonly refreshMs: number;
  readonly log: Log;
  /** Unix milliseconds */
  readonly now: () => number;
}): Promoter {
  const id = refId(ref);
  const name = { backend: ref.backend, key: keyPath(ref) };
  let promoted: PromotedVersion | undefined;
  let knownGeneration = 0;
  let announced = 0;
  let denied: { readonly lease: string; readonly at: number; isLogged: boolean } | undefined;
  let failures = 0;
  let failedVersion: number | undefined;
  /** What goes wrong goes wrong at each pass. */
  const novelty = createNovelty();
  let rotatedAt = Number.NEGATIVE_INFINITY;

  const signal = (): AbortSignal => AbortSignal.timeout(callMs);
  const decide = (state: KeyState): Decision => decidePromotion(state, promoted, isAuto());

  const accept = (next: PromotedVersion): void => {
    failedVersion = undefined;
    if (promoted?.version === next.version && promoted.createdAt === next.createdAt) return;
    log.info(
      { event: "key-promoted", ...name, version: next.version, from: promoted?.version },
      "a key version now encrypts",
    );
    promoted = next;
    knownGeneration = generation();
  };

  // A new version is tried both ways before anything is encrypted under it.
  const promote = async (version: number): Promise<void> => {
    const failed = await runCanary(backend, ref, version, signal(), { mustRefuse: true });
    if (failed !== undefined) {
      // That nobody answers says nothing of the version.
      const isOutage = rowOf(failed.error.reason).kind === "outage";
      if (!isOutage && novelty.isNew("canary-failed", version, failed.operation, failed.error.reason))
        log.error(
          { event: "canary-failed", ...name, version, operation: failed.operation, err: failed.error },
          "a new key version does not work",
        );
      throw failed.error;
    }
    try {
      await backend.promote(ref, version, signal());
    } catch (error) {
      throw toKmsError(error).reason === "backend_denied" && promoted === undefined
        ? new KmsError("key_unpinned", { cause: error })
        : error;
    }
  };

  // Whoever can write to Redis can hold a lease for ever: it is waited for so long, and no longer.
  const mayAct = async (lease: string, milliseconds: number, waitMs: number): Promise<boolean> => {
    if (await sharedCache.tryAcquire(lease, milliseconds)) {
      denied = undefined;
      return true;
    }
    if (denied?.lease !== lease) denied = { lease, at: now(), isLogged: false };
    if (now() - denied.at < waitMs) return false;
    if (!denied.isLogged) log.warn({ event: "lease-ignored", ...name, lease }, "a lease in Redis does not end");
    denied.isLogged = true;
    return true;
  };

  // The others hear of a new version before anybody claims it: if the claimant dies, they know that
  // there is something to do.
  const mayPromote = async (version: number): Promise<boolean> => {
    if (announced !== version) {
      announced = version;
      await sharedCache.announce(id);
    }
    return await mayAct(`promote:${id}:${version}`, leaseMs, leaseWaitMs);
  };

  const raise = async ({ version }: PromotedVersion): Promise<boolean> => {
    if (novelty.isNew("key-fell-back", version))
      log.warn(
        { event: "key-fell-back", ...name, version },
        "the key's min_encryption_version was lowered; raising it",
      );
    try {
      await backend.promote(ref, version, signal());
      return true;
    } catch (error) {
      if (novelty.isNew("key-raise-failed", toKmsError(error).reason))
        log.error(
          { event: "key-raise-failed", ...name, err: error },
          "it could not be raised; this gateway keeps the version it knows",
        );
      return false;
    }
  };

  // A replica of the backend that lags behind looks like one that was restored: whatever is to be done
  // about a key, or said of it, has the active node's word.
  const look = async (): Promise<{ readonly state: KeyState; readonly decision: Decision }> => {
    const seen = await backend.describe(ref, signal());
    const first = decide(seen);
    if (first.kind === "keep") return { state: seen, decision: first };
    const state = await backend.describe(ref, signal(), { fromActive: true });
    return { state, decision: decide(state) };
  };

  /** @throws KmsError key_rolled_back when an operator has to decide */
  const replaceLost = async (rotations: number): Promise<void> => {
    if (novelty.isNew("key-rolled-back", promoted?.version, rotations))
      log.error(
        { event: "key-rolled-back", ...name, lost: promoted?.version, rotations },
        "the backend lost the promoted version (restored from a backup?); it needs one above it, or a raised generation",
      );
    // The operator says that the earlier key is given up: it is as at first sight.
    if (promoted !== undefined && generation() > knownGeneration) {
      promoted = undefined;
      return;
    }
    const isRecent = now() - rotatedAt < rotateEveryMs;
    if (!isAuto() || rotations > maxRotations || isRecent) throw new KmsError("key_rolled_back");
    if (!(await mayAct(`rotate:${id}`, callMs, callMs))) throw new KmsError("key_rolled_back");
    rotatedAt = now();
    for (let made = 0; made < rotations; made++) await backend.rotate(ref, signal());
  };

  return {
    promoted: () => promoted,
    failed: () => failedVersion,
    accept,
    believe(shown) {
      if (shown.version <= (promoted?.version ?? 0)) return;
      // A backend that was restored, or one of its replicas that lags: the next look tells.
      log.info(
        { event: "key-behind-nodes", ...name, version: shown.version, known: promoted?.version },
        "a node has proof of a newer key version than was read here",
      );
      promoted = shown;
      knownGeneration = generation();
    },
    decide,
    async reconcile() {
      let isClaimed = false;
      let hasTried = false;
      let repeats = 0;
      for (let step = 0; step < maxSteps; step++) {
        const { state, decision } = await look();
        switch (decision.kind) {
          case "replace":
            log.error(
              { event: "key-replaced", ...name },
              "this key was made anew: what the earlier one encrypted cannot be decrypted",
            );
            accept(decision.promoted);
            return { state, hasTried };
          case "keep":
            novelty.reset();
            accept(decision.promoted);
            return { state, hasTried };
          case "raise":
            if (!(await raise(decision.promoted))) return { state, hasTried };
            break;
          case "rolled-back":
            await replaceLost(decision.rotations);
            break;
          case "promote":
            if (decision.lost && novelty.isNew("key-lost", decision.version))
              log.error(
                { event: "key-lost", ...name },
                "the promoted version is gone from the backend; a newer one takes over",
              );
            isClaimed ||= promoted === undefined || decision.lost || (await mayPromote(decision.version));
            if (!isClaimed) return { state, retryInMs: leaseMs, hasTried };
            try {
              await promote(decision.version);
              hasTried = true;
              failures = 0;
            } catch (error) {
              const isDenied = toKmsError(error).reason === "backend_denied";
              // Another writer of the key makes Vault refuse this write: what it wrote is read first.
              if (!isDenied && repeats++ < maxRepeats) {
                await sleep(repeatMs + Math.random() * repeatJitterMs);
                break;
              }
              failedVersion = decision.version;
              // What encrypted until now still does: a promotion that fails is an alarm, not an outage.
              if (promoted === undefined || decision.lost) throw error;
              if (novelty.isNew("promotion-failed", decision.version, toKmsError(error).reason))
                log.error(
                  { event: "promotion-failed", ...name, version: decision.version, err: error },
                  "a newer version could not be promoted",
                );
              return isDenied
                ? { state, hasTried }
                : { state, retryInMs: Math.min(refreshMs, retryMs * 2 ** failures++), hasTried };
            }
            break;
        }
      }
      throw new KmsError("backend_protocol_error", { cause: new Error("the key changes faster than it can be read") });
    },
  };
}
