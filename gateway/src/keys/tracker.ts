// Follows one key of one backend: reads it at an interval, promotes what is due, remembers what it knew. One flight at a time. (Design section 6.)
import { KmsError, rowOf, toKmsError } from "@claviger/proto/errors.ts";
import type { KeyRef, KeyState, OpenBackend } from "../backend/port.ts";
import { keyPath } from "../keyid.ts";
import type { Log } from "../log.ts";
import { type CanaryFailure, runCanary } from "./canary.ts";
import { decidePromotion, type Promoted } from "./promotion.ts";

/** What is known of a key. */
export type KeyView = {
  readonly promoted: Promoted;
  /** Unix milliseconds since when the backend has given no fresh word; absent while it does. */
  readonly staleSince?: number;
  /** The promoted version fails this operation. */
  readonly failing?: CanaryFailure["operation"];
};

export interface KeyTracker {
  /** What is known now. Waits for the backend only while nothing is known. @throws KmsError why the key cannot be used */
  view(): Promise<KeyView>;
  /** Reads the key again, unless that was done within the cool-down; joins a read that is under way. Never rejects. */
  refresh(): Promise<void>;
  close(): void;
}

export type TrackerOptions = {
  readonly backend: OpenBackend;
  readonly ref: KeyRef;
  /** Does any cluster that uses this key have rotation `auto`? Asked anew at each read. */
  readonly isAuto: () => boolean;
  readonly refreshMs: number;
  readonly canaryMs: number;
  readonly log: Log;
  readonly now?: () => number;
};

const callMs = 5000;
/** A key that no cluster has asked for this long is not read until one asks again. */
const idleMs = 10 * 60_000;
const maxSteps = 4;

export const createKeyTracker = ({ backend, ref, isAuto, refreshMs, canaryMs, log, now = Date.now }: TrackerOptions): KeyTracker => {
  const name = { backend: ref.backend, key: keyPath(ref) };
  let promoted: Promoted | undefined;
  let readAt = 0;
  let triedAt = Number.NEGATIVE_INFINITY;
  let canaryAt = 0;
  let failure: KmsError | undefined;
  let failing: CanaryFailure["operation"] | undefined;
  let usedAt = now();
  let flight: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let isClosed = false;

  const signal = (): AbortSignal => AbortSignal.timeout(callMs);
  const describe = (): Promise<KeyState> => backend.describe(ref, signal());

  const adopt = (next: Promoted): void => {
    if (promoted?.version !== next.version || promoted.createdAt !== next.createdAt)
      log.info({ event: "key-promoted", ...name, version: next.version, from: promoted?.version }, "a key version now encrypts");
    promoted = next;
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

  // A promotion is a read, a write and a read again: Transit has no check-and-set, so whoever sees a value too low writes it once more.
  const settle = async (): Promise<void> => {
    for (let step = 0; step < maxSteps; step++) {
      const decision = decidePromotion(await describe(), promoted, isAuto());
      switch (decision.kind) {
        case "keep":
          return adopt(decision.promoted);
        case "replace":
          log.error({ event: "key-replaced", ...name }, "this key was made anew: what the earlier one encrypted cannot be decrypted");
          return adopt(decision.promoted);
        case "promote":
          if (decision.lost)
            log.error({ event: "key-lost", ...name }, "the promoted version is gone from the backend; a newer one takes over");
          await promote(decision.version);
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
            return;
          }
          break;
        case "rolled-back":
          log.error({ event: "key-rolled-back", ...name }, "the backend lost the promoted version (restored from a backup?)");
          if (!isAuto()) throw new KmsError("key_rolled_back");
          await backend.rotate(ref, signal());
          break;
      }
    }
    throw new KmsError("backend_misbehaved", { cause: new Error("the key changes faster than it can be read") });
  };

  const look = async (): Promise<void> => {
    triedAt = now();
    try {
      await settle();
      readAt = now();
      failure = undefined;
    } catch (error) {
      const next = toKmsError(error);
      if (failure?.reason !== next.reason)
        log.warn({ event: "key-unreadable", ...name, err: next }, "the key could not be read or promoted");
      failure = next;
      return;
    }
    if (promoted === undefined || now() - canaryAt < canaryMs) return;
    const failed = await runCanary(backend, ref, promoted.version, signal());
    canaryAt = now();
    // An outage shows as staleness at the next read; here it is about an operation that is refused.
    const next = failed === undefined || rowOf(failed.error.reason).kind === "outage" ? undefined : failed.operation;
    if (next !== undefined && next !== failing)
      log.error({ event: "canary-failed", ...name, operation: next, err: failed?.error }, "the promoted version does not work");
    failing = next;
  };

  const fly = (): Promise<void> => {
    flight ??= look().finally(() => {
      flight = undefined;
    });
    return flight;
  };

  const schedule = (): void => {
    if (isClosed) return;
    // Jitter keeps replicas that started together from reading together.
    const isIdle = now() - usedAt > idleMs;
    timer = setTimeout(() => void (isIdle ? Promise.resolve() : fly()).finally(schedule), refreshMs * (0.9 + Math.random() * 0.2)).unref();
  };
  schedule();

  return {
    async view() {
      const wasIdle = now() - usedAt > idleMs;
      usedAt = now();
      if (wasIdle) void fly();
      if (promoted === undefined && (flight !== undefined || now() - triedAt > Math.min(refreshMs, 1000))) await fly();
      if (failure !== undefined && (promoted === undefined || rowOf(failure.reason).kind === "refusal")) throw failure;
      if (promoted === undefined) throw new KmsError("backend_unavailable");
      return {
        promoted,
        ...(failure !== undefined && now() - readAt > refreshMs && { staleSince: readAt }),
        ...(failing !== undefined && { failing }),
      };
    },
    async refresh() {
      if (flight === undefined && now() - triedAt < Math.min(refreshMs / 4, 250)) return;
      await fly();
    },
    close() {
      isClosed = true;
      clearTimeout(timer);
    },
  };
};
