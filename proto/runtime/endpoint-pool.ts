// Which of several remote ends to ask: gateways for a shim, addresses of a Vault for a gateway. One
// healthy end among them is enough. Knows neither HTTP nor KMS. (docs/architecture.md #endpoints.)
import type { KmsError } from "../wire/errors.ts";
import { systemClock } from "./clock.ts";
import { createEndpointHealth, type EndpointState, type HealthOptions } from "./endpoint-health.ts";
import { type PoolCall, runRound } from "./endpoint-round.ts";

export type PoolOptions<E> = HealthOptions<E> & {
  /** Is this the endpoint's fault? Any other error is its decision, and final. */
  readonly isFault: (error: KmsError) => boolean;
  /**
   * Does it say that it has too much to do? Then another one that has said so for a moment is asked out of the
   * budget only. None does when absent.
   */
  readonly isFull?: (error: KmsError) => boolean;
  /** The error to pass on when every endpoint failed; the first of two that say as much. */
  readonly moreSpecific?: (a: KmsError, b: KmsError) => KmsError;
  /** Called for each attempt beyond the first of a call. */
  readonly onExtra?: () => void;
};

export interface EndpointPool<E> {
  /** The first good answer, or the decision of an endpoint. @throws KmsError */
  run<T>(call: PoolCall<E, T>): Promise<T>;
  /** Takes another list; calls under way that fail go on with it. */
  replace(endpoints: readonly E[]): void;
  states(): readonly EndpointState<E>[];
  close(): void;
}

/** A tenth of the calls may be hedged or repeated, with a reserve for a bad moment. */
const budgetPerCall = 0.1;
const budgetMax = 20;
/** Between two rounds over all endpoints. */
const repeatPauseMs = 50;

export function createEndpointPool<E>(options: PoolOptions<E>): EndpointPool<E> {
  const { isFault, isFull = () => false, moreSpecific = (a) => a, onExtra = () => {}, clock = systemClock } = options;
  const health = createEndpointHealth(options);
  let budget = budgetMax;
  const spend = (): boolean => {
    if (budget < 1) return false;
    budget -= 1;
    return true;
  };
  const round = { health, isFault, isFull, moreSpecific, onExtra, spend, clock };

  return {
    async run(call) {
      budget = Math.min(budgetMax, budget + budgetPerCall);
      const endsAt = clock.now() + call.leftMs;
      for (;;) {
        const list = health.entries();
        const result = await runRound(round, call, endsAt);
        if ("value" in result) return result.value;
        const { failure, isFinal } = result;
        const hasTime = endsAt - clock.now() > repeatPauseMs && !call.signal.aborted;
        if (isFinal || !hasTime) throw failure;
        // The list was replaced under this call: it goes on with the new one, at no cost.
        if (list !== health.entries()) continue;
        if (!call.repeat || !spend()) throw failure;
        await new Promise<void>((resolve) => {
          clock.setTimeout(resolve, repeatPauseMs);
        });
      }
    },
    replace: (endpoints) => health.replace(endpoints),
    states: () => health.states(),
    close: () => health.close(),
  };
}
