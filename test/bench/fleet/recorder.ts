// What became of the calls of one process of simulated shims, until the parent takes it.
import { subscribe } from "node:diagnostics_channel";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { KmsError, toKmsError } from "@claviger/proto/wire/errors.ts";
import type { Failure, Kind, Sample, Shown, Taken } from "./protocol.ts";

export type Recorder = {
  /** Runs a call and records it. Never rejects; undefined where the call failed. */
  measure<T>(kind: Kind, shim: number, run: () => Promise<T>, isInGrace?: () => boolean): Promise<T | undefined>;
  /** A call was not made: this process does not keep up. Stands among the failures, as `left_out`. */
  leftOut(kind: Kind, shim: number): void;
  /** What a shim's Status or Encrypt named. */
  showed(shim: number, keyId: string): void;
  take(): Taken;
  /** A connection that is not undici's is made. */
  readonly connected: () => void;
  /** Resolves when so many more requests were answered, or failed, than when it was called. */
  answered(count: number): Promise<void>;
};

/** Unix milliseconds that only go forward, the same in all processes of this machine. */
function now(): number {
  return performance.timeOrigin + performance.now();
}

/** Milliseconds between two looks at the clock; it is how late the second one is that counts. */
const resolution = 10;

/** Counts every connection and request of undici in this process as well. */
export function createRecorder(): Recorder {
  let samples: Sample[] = [];
  let failures: Failure[] = [];
  let shown: Shown[] = [];
  let connected: number[] = [];
  let refused: number[] = [];
  const last = new Map<number, string>();
  const delay = monitorEventLoopDelay({ resolution });
  delay.enable();
  const lateness = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e6 - resolution);
  let requests = 0;
  const waiting = new Map<() => void, number>();
  const count = (): void => {
    requests += 1;
    for (const [resolve, at] of waiting) if (requests >= at && waiting.delete(resolve)) resolve();
  };
  subscribe("undici:client:connected", () => connected.push(now()));
  subscribe("undici:client:connectError", () => refused.push(now()));
  subscribe("undici:request:trailers", count);
  subscribe("undici:request:error", count);
  return {
    async measure(kind, shim, run, isInGrace = () => false) {
      const at = now();
      try {
        const value = await run();
        samples.push({ at, took: now() - at, kind, shim, isInGrace: isInGrace() });
        return value;
      } catch (thrown) {
        // A mistake of the bench is not a failed call.
        const { reason } =
          thrown instanceof TypeError ? new KmsError("internal", { cause: thrown }) : toKmsError(thrown);
        failures.push({ at, kind, shim, reason });
        return undefined;
      }
    },
    leftOut(kind, shim) {
      failures.push({ at: now(), kind, shim, reason: "left_out" });
    },
    showed(shim, keyId) {
      if (last.get(shim) === keyId) return;
      last.set(shim, keyId);
      shown.push({ at: now(), shim, keyId });
    },
    take() {
      const late = { p99: lateness(delay.percentile(99)), max: lateness(delay.max) };
      delay.reset();
      const taken = { samples, failures, shown, connected, refused, late };
      [samples, failures, shown, connected, refused] = [[], [], [], [], []];
      return taken;
    },
    connected: () => void connected.push(now()),
    answered: (more) =>
      new Promise((resolve) => {
        waiting.set(resolve, requests + more);
      }),
  };
}
