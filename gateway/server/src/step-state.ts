// What this gateway says of itself in each step of its history, beside the calls that it had.
// (docs/architecture.md #histories.)
import type { OpenBackend } from "@claviger/gateway-core/src/backend/port.ts";
import type { Gauges } from "@claviger/gateway-core/src/redis/histories.ts";

export type StepState = {
  /** A batch was sent to a backend. */
  sent(items: number): void;
  /** Of the time since it was asked last. */
  take(): Gauges;
};

export function createStepState({
  backends,
  connections,
}: {
  readonly backends: readonly Pick<OpenBackend, "addresses">[];
  readonly connections: () => number;
}): StepState {
  let loop = performance.eventLoopUtilization();
  let batches: [number, number] = [0, 0];
  return {
    sent(items) {
      batches[0] += 1;
      batches[1] += items;
    },
    take() {
      const before = loop;
      loop = performance.eventLoopUtilization();
      const { utilization } = performance.eventLoopUtilization(loop, before);
      const addresses = backends.flatMap((backend) => backend.addresses?.() ?? []);
      const taken: Gauges = {
        eventLoop: Math.round(utilization * 1000) / 1000,
        connections: connections(),
        down: addresses.flatMap(({ address, isUp }) => (isUp ? [] : [address])),
        latency: Object.fromEntries(
          addresses.flatMap(({ address, latencyMs }) =>
            latencyMs === undefined ? [] : [[address, Math.round(latencyMs * 100) / 100] as const],
          ),
        ),
        batches,
      };
      batches = [0, 0];
      return taken;
    },
  };
}
