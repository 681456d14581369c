// Follows one key of one backend: reads it at an interval, promotes what is due, remembers what it
// knew. One flight at a time. (docs/architecture.md #keys.)
import { setTimeout as sleep } from "node:timers/promises";
import { KmsError, rowOf, toKmsError } from "@claviger/proto/wire/errors.ts";
import type { KeyRef, KeyState, OpenBackend } from "@claviger/gateway-core/src/backend/port.ts";
import { keyPath, refId } from "@claviger/gateway-core/src/key/key-id.ts";
import type { KeyFailure } from "@claviger/gateway-core/src/redis/gateway-reports.ts";
import { steadyNow } from "@claviger/proto/runtime/clock.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import type { SharedKeyCache } from "./shared-key-cache.ts";
import { type CanaryFailure, runCanary } from "./canary.ts";
import type { CanaryCiphertexts } from "./canary-ciphertexts.ts";
import { createPreviousVersionProbe } from "./previous-versions.ts";
import type { PromotedVersion } from "@claviger/gateway-core/src/key/promotion.ts";
import { createPromoter } from "./promoter.ts";

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
  /** The latest version that was seen, whether or not it is promoted. */
  latest(): number | undefined;
  /**
   * Polls the key once more, in a poll that begins after this call and not within the cool-down.
   * Never rejects.
   * @param atBackend ask the backend itself, whatever other replicas say; else only where the shared
   * cache has nothing new
   */
  refresh(atBackend: boolean): Promise<void>;
  /** Has nobody asked for the key for a while, at this time of `now`? Cheap: asked of all pollers each second. */
  isUnasked(at: number): boolean;
  /** Takes a version for promoted that some gateway has shown, whatever the backend says of it now. */
  believe(shown: PromotedVersion): void;
  /** How many earlier versions failed when they were last tried by this replica. */
  broken(): number;
  /** Is its newest version not promoted because that failed? */
  isUnpromoted(): boolean;
  /** The versions that did not work when they were last tried, as far as this replica knows. */
  failures(): readonly Omit<KeyFailure, "key">[];
  /** How many versions that were retired decrypt again, since this poller began. */
  reopened(): number;
  close(): void;
}

export type KeyPollerOptions = {
  readonly backend: OpenBackend;
  readonly ref: KeyRef;
  /** Does a cluster that is served use this key? Else nothing is done with it. Asked anew at each poll. */
  readonly isUsed?: () => boolean;
  /** Does any cluster that uses this key have rotation `auto`? Asked anew at each read. */
  readonly isAuto: () => boolean;
  /** The highest generation of the clusters that use this key; a raised one gives up what was lost. */
  readonly generation?: () => number;
  readonly sharedCache: SharedKeyCache;
  /** Undefined: earlier versions are not tried. */
  readonly canaryCiphertexts?: CanaryCiphertexts;
  readonly refreshMs: number;
  readonly canaryMs: number;
  /** How many times these intervals the key is left alone: 1 or more. Asked anew at each poll. */
  readonly slowdown?: () => number;
  readonly log: Log;
  readonly now?: () => number;
};

const callMs = 5000;
/** A key that no cluster has asked for this long is not read until one asks again. */
const idleMs = 10 * 60_000;
const coolDownMs = 250;
/** `shared`: what another replica read counts. `news`: only if it is new. `backend`: it does not. */
type PollSource = "shared" | "news" | "backend";

export function createKeyPoller({
  backend,
  ref,
  isUsed = () => true,
  isAuto,
  generation = () => 0,
  sharedCache,
  canaryCiphertexts,
  refreshMs,
  canaryMs,
  slowdown = () => 1,
  log,
  now = steadyNow,
}: KeyPollerOptions): KeyPoller {
  const id = refId(ref);
  const name = { backend: ref.backend, key: keyPath(ref) };
  const previousVersions =
    canaryCiphertexts === undefined ? undefined : createPreviousVersionProbe({ backend, ref, canaryCiphertexts, log });
  const promoter = createPromoter({ backend, ref, isAuto, generation, sharedCache, refreshMs, log, now });
  let readAt = 0;
  let triedAt = Number.NEGATIVE_INFINITY;
  let canaryAt = 0;
  let failure: KmsError | undefined;
  let failing: CanaryFailure["operation"] | undefined;
  let usedAt = now();
  let flight: Promise<void> | undefined;
  let waiting: Promise<void> | undefined;
  let waitingFor: PollSource = "news";
  let retryInMs: number | undefined;
  /** min_decryption_version, as of the last look at the backend. */
  let minimum: number | undefined;
  /** The highest that it has been. */
  let highest = 0;
  let timer: NodeJS.Timeout | undefined;
  let latest: number | undefined;
  /** No timer is set: who asks next begins again. */
  let isAsleep = false;
  let isClosed = false;

  const intervalMs = (): number => refreshMs * slowdown();
  const isUnasked = (at = now()): boolean => at - usedAt > idleMs;
  const signal = (): AbortSignal => AbortSignal.timeout(callMs);
  // What another replica read counts for an interval, but only to learn what is promoted: whoever
  // acts asks the backend first. A report older than the lease means that its holder is gone.
  const loadShared = async (source: PollSource): Promise<boolean> => {
    const promoted = promoter.promoted();
    if (source === "backend" || promoted === undefined) return false;
    const turnMs = intervalMs() * 0.9;
    if (source === "shared" && (await sharedCache.tryAcquire(`read:${id}`, turnMs))) return false;
    const report = await sharedCache.read(id, turnMs);
    const decision = report === undefined ? undefined : promoter.decide(report.state);
    latest = report?.state.latest ?? latest;
    if (decision?.kind !== "keep") return false;
    if (source === "news" && decision.promoted.version === promoted.version && failing === report?.failing)
      return false;
    promoter.accept(decision.promoted);
    failing = report?.failing;
    return true;
  };

  // An outage shows as staleness; this is about an operation that is refused.
  const tryCanary = async (current: PromotedVersion, state: KeyState): Promise<void> => {
    const everyMs = canaryMs * slowdown();
    if (now() - canaryAt < everyMs || !(await sharedCache.tryAcquire(`canary:${id}`, everyMs * 0.9))) return;
    const { version } = current;
    const failed = await runCanary(backend, ref, version, signal());
    canaryAt = now();
    const next = failed === undefined || rowOf(failed.error.reason).kind === "outage" ? undefined : failed.operation;
    // Refused because another replica has promoted a newer version meanwhile: look again, and soon.
    if (next === "encrypt" && (await backend.describe(ref, signal())).minEncryption > version) {
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

  // Who retires versions with our command knows; whoever does it by hand may not know what needs them.
  const noteMinimum = ({ minDecryption }: KeyState): void => {
    if (minDecryption === minimum) return;
    const change = { ...name, from: minimum, to: minDecryption };
    if (minimum !== undefined && minDecryption > minimum)
      log.warn(
        { event: "key-versions-retired", ...change },
        "min_decryption_version was raised: earlier versions decrypt no longer",
      );
    else if (minimum !== undefined)
      log.warn(
        { event: "key-versions-reopened", ...change },
        "min_decryption_version was lowered: retired versions decrypt again",
      );
    minimum = minDecryption;
    highest = Math.max(highest, minDecryption);
  };

  const poll = async (source: PollSource): Promise<void> => {
    triedAt = now();
    const before = { promoted: promoter.promoted(), failing };
    try {
      if (!(await loadShared(source))) {
        const { state, retryInMs: pauseMs, hasTried } = await promoter.reconcile();
        retryInMs = pauseMs;
        if (hasTried) canaryAt = now();
        noteMinimum(state);
        ({ latest } = state);
        const promoted = promoter.promoted();
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
    const delayMs = retryInMs ?? intervalMs() * (0.92 + Math.random() * 0.08);
    const isRetry = retryInMs !== undefined;
    retryInMs = undefined;
    // A key that nobody asks for costs nothing, not even a timer: who asks next starts it again.
    const isDue = (): boolean => isUsed() && (isRetry || !isUnasked());
    isAsleep = !isDue();
    if (isAsleep) return;
    timer = setTimeout(() => {
      isAsleep = !isDue();
      if (!isAsleep) void startPoll(isRetry ? "backend" : "shared");
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
      // At each call: whether the key is used, whoever asks knows.
      const wasIdle = isUnasked() || isAsleep;
      usedAt = now();
      if (wasIdle) void startPoll("shared");
      if (promoter.promoted() === undefined && (flight !== undefined || now() - triedAt > Math.min(refreshMs, 1000)))
        await startPoll("shared");
      const promoted = promoter.promoted();
      if (failure !== undefined && (promoted === undefined || rowOf(failure.reason).kind === "refusal")) throw failure;
      if (promoted === undefined) throw new KmsError("backend_unavailable");
      return {
        promoted,
        ...(failure !== undefined && now() - readAt > intervalMs() && { staleSince: readAt }),
        ...(failure?.reason === "key_rolled_back" && { isLost: true }),
        ...(failing !== undefined && { failing }),
      };
    },
    known: () => promoter.promoted(),
    latest: () => latest,
    isUnasked,
    believe: (shown) => promoter.believe(shown),
    broken: () => (isUsed() ? (previousVersions?.broken().length ?? 0) : 0),
    isUnpromoted: () => isUsed() && promoter.failed() !== undefined,
    failures() {
      if (!isUsed()) return [];
      const current = promoter.promoted()?.version;
      const next = promoter.failed();
      return [
        ...(previousVersions?.broken() ?? []).map((version) => ({ version, what: "decrypt" }) as const),
        ...(failing !== undefined && current !== undefined ? [{ version: current, what: failing }] : []),
        ...(next === undefined ? [] : [{ version: next, what: "promote" } as const]),
      ];
    },
    reopened: () => (isUsed() ? highest - (minimum ?? highest) : 0),
    // Not joined to a poll that began before the reason to ask, and spaced: nobody who asks, and
    // nobody who writes to Redis, can make us flood the backend.
    refresh(atBackend) {
      if (!isUsed()) return Promise.resolve();
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
