// Several gateways as one: the quick and healthy first, another one when that fails or dawdles, all
// inside the caller's deadline and a budget. (docs/architecture.md #shim.)
import { KmsError, rowOf, toKmsError } from "@claviger/proto/wire/errors.ts";
import type { Method } from "@claviger/proto/wire/protocol.ts";
import { type ClientTls, createGateway, type Gateway, type UpstreamReply } from "./gateway.ts";
import type { Metrics } from "./metrics.ts";

export type UpstreamCall = {
  readonly method: Method;
  readonly body: Uint8Array;
  /** Unix milliseconds */
  readonly deadline: number;
  readonly epoch?: string | undefined;
  /**
   * Ask a second gateway when the first takes longer than it usually does: for calls that may run
   * twice at no cost.
   */
  readonly hedge: boolean;
  readonly signal?: AbortSignal;
};

export interface Upstream {
  /** @throws KmsError: a gateway's own reason, or gateway_unavailable, or deadline_exceeded */
  call(call: UpstreamCall): Promise<UpstreamReply>;
  /** Takes a new list and new certificates; calls under way finish on the old connections. */
  configure(urls: readonly string[], tls: ClientTls): void;
  close(): Promise<void>;
}

/**
 * A tenth of the calls may be tried again, with a reserve for a bad moment: no storm of retries on
 * a fleet that is already slow.
 */
const budgetPerCall = 0.1;
const budgetMax = 20;
const slowAttemptMs = 1000;
const pauseMs = 50;

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
  });
}

export function createUpstream(
  urls: readonly string[],
  tls: ClientTls,
  metrics: Metrics,
  traceparent: () => string | undefined = () => undefined,
): Upstream {
  let gateways: readonly Gateway[] = urls.map((url) => createGateway(url, tls, traceparent));
  let budget = budgetMax;

  // Healthy before resting; among equals the quicker, with some chance, so that a recovered one is
  // found out.
  const order = (): readonly Gateway[] => {
    const now = Date.now();
    const rank = ({ badUntil, latency }: Gateway): number =>
      Math.max(0, badUntil - now) * 1000 + latency * (0.5 + Math.random());
    return gateways
      .map((gateway) => ({ gateway, value: rank(gateway) }))
      .toSorted((a, b) => a.value - b.value)
      .map(({ gateway }) => gateway);
  };

  const attempt = async (
    gateway: Gateway,
    call: UpstreamCall,
    signal: AbortSignal,
    limitMs: number,
  ): Promise<UpstreamReply> => {
    const began = Date.now();
    const own = AbortSignal.any([signal, AbortSignal.timeout(limitMs)]);
    try {
      const reply = await gateway.ask({
        method: call.method,
        body: call.body,
        deadline: Math.min(call.deadline, began + limitMs),
        epoch: call.epoch,
        signal: own,
      });
      gateway.latency = gateway.latency * 0.8 + (Date.now() - began) * 0.2;
      gateway.failures = 0;
      gateway.badUntil = 0;
      metrics.upstreamAsked(call.method, "ok");
      return reply;
    } catch (thrown) {
      const error = toKmsError(thrown);
      metrics.upstreamAsked(call.method, error.reason);
      // Given up by us, as the loser of a hedge or because the caller left: says nothing about the
      // gateway.
      if (rowOf(error.reason).kind === "outage" && !signal.aborted) {
        gateway.failures += 1;
        gateway.badUntil = Date.now() + Math.min(100 * 2 ** gateway.failures, 5000);
      }
      throw error;
    }
  };

  const spend = (): boolean => {
    if (budget < 1) return false;
    budget -= 1;
    metrics.retried();
    return true;
  };

  // One gateway, and a second one beside it when the first dawdles. The first good answer counts.
  const race = async (
    first: Gateway,
    second: Gateway | undefined,
    call: UpstreamCall,
    signal: AbortSignal,
    limitMs: number,
  ): Promise<UpstreamReply> => {
    const loser = new AbortController();
    const either = AbortSignal.any([signal, loser.signal]);
    const one = attempt(first, call, either, limitMs);
    if (second === undefined || !call.hedge) return await one;
    const usual = Math.max(30, first.latency * 4);
    try {
      const early = await Promise.race([
        one.then(
          () => true,
          () => true,
        ),
        sleep(usual, either).then(() => false),
      ]);
      if (early || !spend()) return await one;
      const two = attempt(second, call, either, limitMs);
      return await Promise.any([one, two]).catch((error: unknown) => {
        const all = error instanceof AggregateError ? error.errors.map(toKmsError) : [toKmsError(error)];
        // What a gateway decided says more than that another could not be asked.
        throw all.find(({ reason }) => rowOf(reason).kind !== "outage") ?? all[0] ?? error;
      });
    } finally {
      loser.abort();
      one.catch(() => {});
    }
  };

  return {
    async call(call) {
      budget = Math.min(budgetMax, budget + budgetPerCall);
      const left = (): number => call.deadline - Date.now();
      const signal = call.signal ?? new AbortController().signal;
      const mayGoOn = (error: KmsError): boolean =>
        rowOf(error.reason).retryable && left() > pauseMs && !signal.aborted && spend();
      for (;;) {
        const known = gateways;
        const candidates = order();
        let failure: KmsError = new KmsError("gateway_unavailable", { cause: new Error("no time left") });
        for (const [i, gateway] of candidates.entries()) {
          if (left() <= 0) throw new KmsError("deadline_exceeded");
          const next = candidates[i + 1];
          // The last one may use all the time; the others leave some for those behind them.
          const limitMs = next === undefined ? left() : Math.min(left(), slowAttemptMs);
          try {
            return await race(gateway, next, call, signal, limitMs);
          } catch (thrown) {
            failure = toKmsError(thrown);
            // The list or the certificates were replaced under this call: it goes on with the new
            // ones, at no cost.
            if (gateways !== known && left() > 0 && rowOf(failure.reason).retryable) break;
            if (!mayGoOn(failure)) throw failure;
          }
        }
        if (gateways !== known) continue;
        // A Status has the last key_id to fall back on; it need not wait for a better moment.
        if (call.method === "status") throw failure;
        await sleep(Math.min(pauseMs, left()), signal);
        if (left() <= pauseMs || signal.aborted) throw failure;
      }
    },
    configure(nextUrls, nextTls) {
      const before = gateways;
      gateways = nextUrls.map((url) => createGateway(url, nextTls, traceparent));
      for (const gateway of before) void gateway.close();
    },
    async close() {
      await Promise.all(gateways.map((gateway) => gateway.close()));
    },
  };
}
