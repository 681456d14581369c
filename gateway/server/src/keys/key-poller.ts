// Follows one key of one backend: reads it at an interval, promotes what is due, remembers what it
// knew. One flight at a time. (docs/architecture.md #keys.)
import { setTimeout as sleep } from "node:timers/promises";
import { KmsError, rowOf, toKmsError } from "@claviger/proto/wire/errors.ts";
import type { KeyRef, KeyState, OpenBackend } from "@claviger/gateway-core/src/backend/port.ts";
import { keyPath, refId } from "@claviger/gateway-core/src/key/key-id.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import type { SharedKeyCache } from "./shared-key-cache.ts";
import { type CanaryFailure, runCanary } from "./canary.ts";
import type { CanaryCiphertexts } from "./canary-ciphertexts.ts";
import { createPreviousVersionProbe } from "./previous-versions.ts";
import { decidePromotion, type PromotedVersion } from "@claviger/gateway-core/src/key/promotion.ts";

/** What is known of a key. */
export type KeyView = {
  readonly promoted: PromotedVersion;
  /** Unix milliseconds since when the backend has given no fresh word; absent while it does. */
  readonly staleSince?: number;
  /**
   * The promoted version is gone from the backend: nothing may be encrypted until a newer one is
   * promoted.
   */
  readonly isLost?: boolean;
  /** The promoted version fails this operation. */
  readonly failing?: CanaryFailure["operation"];
};

export interface KeyPoller {
  /**
   * What is known now. Waits for the backend only while nothing is known.
   * @throws KmsError why the key cannot be used
   */
  view(): Promise<KeyView>;
  /** What encrypts, as far as is known; asks nobody. */
  known(): PromotedVersion | undefined;
  /**
   * Polls the key once more, in a poll that begins after this call and not within the cool-down.
   * Never rejects.
   * @param atBackend ask the backend itself, whatever other replicas say; else only where the shared
   * cache has nothing new
   */
  refresh(atBackend: boolean): Promise<void>;
  /** How many earlier versions failed when they were last tried by this replica. */
  broken(): number;
  close(): void;
}

export type KeyPollerOptions = {
  readonly backend: OpenBackend;
  readonly ref: KeyRef;
  /** Does any cluster that uses this key have rotation `auto`? Asked anew at each read. */
  readonly isAuto: () => boolean;
  /** The highest generation of the clusters that use this key; a raised one gives up what was lost. */
  readonly generation?: () => number;
  readonly sharedCache: SharedKeyCache;
  /** Undefined: earlier versions are not tried. */
  readonly canaryCiphertexts?: CanaryCiphertexts;
  readonly refreshMs: number;
  readonly canaryMs: number;
  readonly log: Log;
  readonly now?: () => number;
};

const callMs = 5000;
/** A lost version that is further away is an operator's matter, who raises the generation. */
const maxRotations = 100;
/** A key that no cluster has asked for this long is not read until one asks again. */
const idleMs = 10 * 60_000;
const maxSteps = 8;
const coolDownMs = 250;
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

/** `shared`: what another replica read counts. `news`: only if it is new. `backend`: it does not. */
type PollSource = "shared" | "news" | "backend";

export function createKeyPoller({
  backend,
  ref,
  isAuto,
  generation = () => 0,
  sharedCache,
  canaryCiphertexts,
  refreshMs,
  canaryMs,
  log,
  now = Date.now,
}: KeyPollerOptions): KeyPoller {
  const id = refId(ref);
  const name = { backend: ref.backend, key: keyPath(ref) };
  const previousVersions =
    canaryCiphertexts === undefined ? undefined : createPreviousVersionProbe({ backend, ref, canaryCiphertexts, log });
  let promoted: PromotedVersion | undefined;
  let knownGeneration = 0;
  let readAt = 0;
  let triedAt = Number.NEGATIVE_INFINITY;
  let canaryAt = 0;
  let failure: KmsError | undefined;
  let failing: CanaryFailure["operation"] | undefined;
  let usedAt = now();
  let flight: Promise<void> | undefined;
  let waiting: Promise<void> | undefined;
  let waitingFor: PollSource = "news";
  let announced = 0;
  let denied: { readonly version: number; readonly at: number; isLogged: boolean } | undefined;
  let retryInMs: number | undefined;
  let retries = 0;
  let timer: NodeJS.Timeout | undefined;
  let isClosed = false;

  const signal = (): AbortSignal => AbortSignal.timeout(callMs);
  const describe = (): Promise<KeyState> => backend.describe(ref, signal());

  const setCurrent = (next: PromotedVersion): void => {
    if (promoted?.version === next.version && promoted.createdAt === next.createdAt) return;
    log.info(
      { event: "key-promoted", ...name, version: next.version, from: promoted?.version },
      "a key version now encrypts",
    );
    promoted = next;
    knownGeneration = generation();
  };

  const canary = async (version: number): Promise<void> => {
    const failed = await runCanary(backend, ref, version, signal());
    canaryAt = now();
    if (failed === undefined) return;
    log.error(
      { event: "canary-failed", ...name, version, operation: failed.operation, err: failed.error },
      "a new key version does not work",
    );
    throw failed.error;
  };

  const promote = async (version: number): Promise<void> => {
    await canary(version);
    try {
      await backend.promote(ref, version, signal());
    } catch (error) {
      throw toKmsError(error).reason === "backend_denied" && promoted === undefined
        ? new KmsError("key_unpinned", { cause: error })
        : error;
    }
  };

  // The others hear of a new version before anybody claims it: if the claimant dies, they know that
  // there is something to do.
  const mayPromote = async (version: number): Promise<boolean> => {
    if (announced !== version) {
      announced = version;
      await sharedCache.announce(id);
    }
    if (await sharedCache.tryAcquire(`promote:${id}:${version}`, leaseMs)) return true;
    if (denied?.version !== version) denied = { version, at: now(), isLogged: false };
    if (now() - denied.at >= leaseWaitMs) {
      if (!denied.isLogged) log.warn({ event: "lease-ignored", ...name, version }, "a lease in Redis does not end");
      denied.isLogged = true;
      return true;
    }
    retryInMs = leaseMs;
    return false;
  };

  // A promotion is a read, a write and a read again: Transit has no check-and-set, so whoever sees
  // a value too low writes it once more. One replica does it for the fleet; the others hear of it.
  const reconcile = async (): Promise<KeyState> => {
    let isClaimed = false;
    let repeats = 0;
    for (let step = 0; step < maxSteps; step++) {
      const state = await describe();
      const decision = decidePromotion(state, promoted, isAuto());
      switch (decision.kind) {
        case "keep":
          setCurrent(decision.promoted);
          return state;
        case "replace":
          log.error(
            { event: "key-replaced", ...name },
            "this key was made anew: what the earlier one encrypted cannot be decrypted",
          );
          setCurrent(decision.promoted);
          return state;
        case "promote":
          if (decision.lost)
            log.error(
              { event: "key-lost", ...name },
              "the promoted version is gone from the backend; a newer one takes over",
            );
          isClaimed ||= promoted === undefined || decision.lost || (await mayPromote(decision.version));
          if (!isClaimed) return state;
          try {
            await promote(decision.version);
            retries = 0;
          } catch (error) {
            const isDenied = toKmsError(error).reason === "backend_denied";
            // Another writer of the key makes Vault refuse this write: what it wrote is read first.
            if (!isDenied && repeats++ < maxRepeats) {
              await sleep(repeatMs + Math.random() * repeatJitterMs);
              break;
            }
            // What encrypted until now still does: a promotion that fails is an alarm, not an
            // outage.
            if (promoted === undefined || decision.lost) throw error;
            log.error(
              { event: "promotion-failed", ...name, version: decision.version, err: error },
              "a newer version could not be promoted",
            );
            if (!isDenied) retryInMs = Math.min(refreshMs, retryMs * 2 ** retries++);
            return state;
          }
          break;
        case "raise":
          log.warn(
            { event: "key-fell-back", ...name, version: decision.promoted.version },
            "the key's min_encryption_version was lowered; raising it",
          );
          try {
            await backend.promote(ref, decision.promoted.version, signal());
          } catch (error) {
            log.error(
              { event: "key-raise-failed", ...name, err: error },
              "it could not be raised; this gateway keeps the version it knows",
            );
            return state;
          }
          break;
        case "rolled-back":
          log.error(
            { event: "key-rolled-back", ...name, lost: promoted?.version, rotations: decision.rotations },
            "the backend lost the promoted version (restored from a backup?); it needs one above it, or a raised generation",
          );
          // The operator says that the earlier key is given up: it is as at first sight.
          if (promoted !== undefined && generation() > knownGeneration) {
            promoted = undefined;
            break;
          }
          if (!isAuto() || decision.rotations > maxRotations || !(await sharedCache.tryAcquire(`rotate:${id}`, callMs)))
            throw new KmsError("key_rolled_back");
          for (let made = 0; made < decision.rotations; made++) await backend.rotate(ref, signal());
          break;
      }
    }
    throw new KmsError("backend_protocol_error", { cause: new Error("the key changes faster than it can be read") });
  };

  // What another replica read counts for an interval, but only to learn what is promoted: whoever
  // acts asks the backend first. A report older than the lease means that its holder is gone.
  const loadShared = async (source: PollSource): Promise<boolean> => {
    if (source === "backend" || promoted === undefined) return false;
    if (source === "shared" && (await sharedCache.tryAcquire(`read:${id}`, refreshMs * 0.9))) return false;
    const report = await sharedCache.read(id, refreshMs * 0.9);
    const decision = report === undefined ? undefined : decidePromotion(report.state, promoted, isAuto());
    if (decision?.kind !== "keep") return false;
    if (source === "news" && decision.promoted.version === promoted.version && failing === report?.failing)
      return false;
    setCurrent(decision.promoted);
    failing = report?.failing;
    return true;
  };

  // An outage shows as staleness; this is about an operation that is refused.
  const tryCanary = async (current: PromotedVersion, state: KeyState): Promise<void> => {
    if (now() - canaryAt < canaryMs || !(await sharedCache.tryAcquire(`canary:${id}`, canaryMs * 0.9))) return;
    const { version } = current;
    const failed = await runCanary(backend, ref, version, signal());
    canaryAt = now();
    const next = failed === undefined || rowOf(failed.error.reason).kind === "outage" ? undefined : failed.operation;
    // Refused because another replica has promoted a newer version meanwhile: look again, and soon.
    if (next === "encrypt" && (await describe()).minEncryption > version) {
      retryInMs = 20;
      return;
    }
    if (next !== undefined && next !== failing)
      log.error(
        { event: "canary-failed", ...name, operation: next, err: failed?.error },
        "the promoted version does not work",
      );
    failing = next;
    if (failed === undefined) void previousVersions?.look(current, state);
  };

  const poll = async (source: PollSource): Promise<void> => {
    triedAt = now();
    const before = { promoted, failing };
    try {
      if (!(await loadShared(source))) {
        const state = await reconcile();
        if (promoted !== undefined) await tryCanary(promoted, state);
        const hasChanged = promoted !== before.promoted || failing !== before.failing;
        await sharedCache.post(id, { state, ...(failing !== undefined && { failing }) }, hasChanged);
      }
      readAt = now();
      failure = undefined;
    } catch (error) {
      const next = toKmsError(error);
      if (failure?.reason !== next.reason)
        log.warn({ event: "key-unreadable", ...name, err: next }, "the key could not be read or promoted");
      failure = next;
    }
  };

  // The only timer. Each poll sets it anew, however that ended.
  const schedule = (): void => {
    clearTimeout(timer);
    if (isClosed) return;
    // Jitter keeps replicas that started together from reading together.
    const delayMs = retryInMs ?? refreshMs * (0.92 + Math.random() * 0.08);
    const isRetry = retryInMs !== undefined;
    retryInMs = undefined;
    timer = setTimeout(() => {
      if (isRetry || now() - usedAt <= idleMs) void startPoll(isRetry ? "backend" : "shared");
      else schedule();
    }, delayMs).unref();
  };

  const startPoll = (source: PollSource): Promise<void> => {
    flight ??= poll(source).finally(() => {
      flight = undefined;
      schedule();
    });
    return flight;
  };
  schedule();

  return {
    async view() {
      const wasIdle = now() - usedAt > idleMs;
      usedAt = now();
      if (wasIdle) void startPoll("shared");
      if (promoted === undefined && (flight !== undefined || now() - triedAt > Math.min(refreshMs, 1000)))
        await startPoll("shared");
      if (failure !== undefined && (promoted === undefined || rowOf(failure.reason).kind === "refusal")) throw failure;
      if (promoted === undefined) throw new KmsError("backend_unavailable");
      return {
        promoted,
        ...(failure !== undefined && now() - readAt > refreshMs && { staleSince: readAt }),
        ...(failure?.reason === "key_rolled_back" && { isLost: true }),
        ...(failing !== undefined && { failing }),
      };
    },
    known: () => promoted,
    broken: () => previousVersions?.broken() ?? 0,
    // Not joined to a poll that began before the reason to ask, and spaced: nobody who asks, and
    // nobody who writes to Redis, can make us flood the backend.
    refresh(atBackend) {
      if (atBackend) waitingFor = "backend";
      waiting ??= (async () => {
        await flight;
        await sleep(Math.max(0, triedAt + coolDownMs - now()), undefined, { ref: false });
        while (flight !== undefined) await flight;
        const source = waitingFor;
        waiting = undefined;
        waitingFor = "news";
        await startPoll(source);
      })();
      return waiting;
    },
    close() {
      isClosed = true;
      clearTimeout(timer);
    },
  };
}
