// Which of a Vault's addresses is asked, and which is asked instead. Knows no HTTP.
// (docs/architecture.md #vault.) An address that failed stands at the end of the line until a look
// in the background finds it well: no caller pays for trying it.
import { KmsError, type Reason } from "@claviger/proto/wire/errors.ts";
import { abortReason } from "@claviger/proto/runtime/abort.ts";

export type FailoverOptions<N> = {
  /** In order of preference. */
  readonly nodes: readonly N[];
  /** Resolves when the node would serve. */
  readonly probe: (node: N, signal: AbortSignal) => Promise<void>;
  readonly onChange?: (node: N, failure: KmsError | undefined) => void;
};

export type Attempt<N, T> = {
  readonly run: (node: N, signal: AbortSignal) => Promise<T>;
  /**
   * May two nodes see it? If not, the next one is asked only when `isUntouched` says that the
   * failed one did nothing.
   */
  readonly isRepeatable: boolean;
  readonly isUntouched: (error: KmsError) => boolean;
  /** Takes a result that came too late. */
  readonly discard: (late: T) => void;
  readonly signal: AbortSignal;
};

export interface Failover<N> {
  /** The first success; if there is none, the most telling of the failures. @throws KmsError */
  run<T>(attempt: Attempt<N, T>): Promise<T>;
  close(): void;
}

/** A node that takes longer is no longer waited for alone. */
const slowMs = 500;
const firstLookMs = 250;
const lastLookMs = 5000;
const probeMs = 2000;

const telling: readonly Reason[] = ["backend_sealed", "backend_rate_limited", "backend_unavailable"];
function moreSpecific(a: KmsError | undefined, b: KmsError): KmsError {
  return a !== undefined && telling.indexOf(a.reason) <= telling.indexOf(b.reason) ? a : b;
}

type Known<N> = { readonly node: N; isBad: boolean; pauseMs: number; timer: NodeJS.Timeout | undefined };

export function createFailover<N>({ nodes, probe, onChange = () => {} }: FailoverOptions<N>): Failover<N> {
  const known: Known<N>[] = nodes.map((node) => ({ node, isBad: false, pauseMs: firstLookMs, timer: undefined }));
  let isClosed = false;

  const look = async (entry: Known<N>): Promise<void> => {
    try {
      await probe(entry.node, AbortSignal.timeout(probeMs));
      if (!entry.isBad) return;
      entry.isBad = false;
      onChange(entry.node, undefined);
    } catch {
      entry.pauseMs = Math.min(entry.pauseMs * 2, lastLookMs);
      if (entry.isBad) lookLater(entry, entry.pauseMs);
    }
  };

  const lookLater = (entry: Known<N>, ms: number): void => {
    if (isClosed) return;
    entry.timer = setTimeout(() => void look(entry), ms).unref();
  };

  const markDown = (entry: Known<N>, failure: KmsError): void => {
    if (entry.isBad) return;
    entry.isBad = true;
    onChange(entry.node, failure);
    // A node that looks well and fails again at once is looked at ever more rarely; `run` forgets
    // that with a success.
    lookLater(entry, Math.max(entry.pauseMs, Math.min(failure.retryAfterMs ?? 0, 60_000)));
    entry.pauseMs = Math.min(entry.pauseMs * 2, lastLookMs);
  };

  const markUp = (entry: Known<N>): void => {
    entry.pauseMs = firstLookMs;
    if (!entry.isBad) return;
    clearTimeout(entry.timer);
    entry.isBad = false;
    onChange(entry.node, undefined);
  };

  return {
    run: <T>({ run, isRepeatable, isUntouched, discard, signal }: Attempt<N, T>) =>
      new Promise<T>((resolve, reject) => {
        const order = known.toSorted((a, b) => Number(a.isBad) - Number(b.isBad));
        const stop = new AbortController();
        let asked = 0;
        let running = 0;
        let failure: KmsError | undefined;
        let isOver = false;
        const over = (): void => {
          isOver = true;
          signal.removeEventListener("abort", end);
          stop.abort();
        };
        const end = (): void => {
          over();
          reject(abortReason(signal));
        };
        if (signal.aborted) return end();
        signal.addEventListener("abort", end, { once: true });

        const settle = async (entry: Known<N>, slow: NodeJS.Timeout): Promise<void> => {
          try {
            const result = await run(entry.node, stop.signal);
            markUp(entry);
            if (isOver) return discard(result);
            over();
            resolve(result);
          } catch (error) {
            running -= 1;
            if (isOver) return;
            const next = error instanceof KmsError ? error : new KmsError("internal", { cause: error });
            failure = moreSpecific(failure, next);
            markDown(entry, next);
            if (asked < order.length && (isRepeatable || isUntouched(next))) return askNext();
            if (running > 0) return;
            over();
            reject(failure);
          } finally {
            clearTimeout(slow);
          }
        };

        const askNext = (): void => {
          const entry = order[asked++];
          if (entry === undefined) return;
          running += 1;
          const isNextThere = asked < order.length;
          // The slow one is not given up: whoever answers first is taken.
          const slow = setTimeout(() => {
            markDown(entry, new KmsError("backend_unavailable", { cause: new Error(`no reply within ${slowMs} ms`) }));
            if (isNextThere && isRepeatable && !isOver) askNext();
          }, slowMs).unref();
          void settle(entry, slow);
        };
        askNext();
        return undefined;
      }),
    close() {
      isClosed = true;
      for (const { timer } of known) clearTimeout(timer);
    },
  };
}
