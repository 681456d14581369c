// What this gateway says of itself to whoever looks after the fleet. (docs/architecture.md #fleet-view.)
import type { CertificateState } from "@claviger/proto/runtime/expiry.ts";
import type { OpenBackend } from "@claviger/gateway-core/src/backend/port.ts";
import type { GatewayState } from "@claviger/gateway-core/src/redis/gateway-reports.ts";
import { notAskedYet, type Readiness } from "./http/health.ts";

const mostProblems = 16;
const mostFailures = 100;
const longestText = 256;

/** Over a shorter time the event loop is as busy as a single thing that it does. */
const usualLoopMs = 10_000;

/** Those of /readyz that are not ok; certificates are told one by one. */
function problemsOf({ checks }: Readiness): Readonly<Record<string, string>> {
  const found = Object.entries(checks).filter(
    ([name, text]) => text !== "ok" && text !== notAskedYet && !name.startsWith("certificate/"),
  );
  return Object.fromEntries(found.slice(0, mostProblems).map(([name, text]) => [name, text.slice(0, longestText)]));
}

/** @returns what to report now; the share of the event loop is of the last whole `loopMs` */
export function createGatewayState({
  version,
  backends,
  readiness,
  certificates,
  connections,
  keyFailures,
  loopMs = usualLoopMs,
  now = Date.now,
}: {
  readonly version: string;
  readonly backends: readonly OpenBackend[];
  readonly readiness: () => Readiness;
  readonly certificates: () => readonly CertificateState[];
  readonly connections: () => number;
  readonly keyFailures: () => NonNullable<GatewayState["keyFailures"]>;
  readonly loopMs?: number;
  /** Unix milliseconds. */
  readonly now?: () => number;
}): () => GatewayState {
  const startedAt = now();
  let loop = performance.eventLoopUtilization();
  let share: number | undefined;
  return () => {
    const { idle, active, utilization } = performance.eventLoopUtilization(loop);
    if (idle + active >= loopMs) {
      loop = performance.eventLoopUtilization();
      share = Math.round(utilization * 1000) / 1000;
    }
    const ready = readiness();
    return {
      version,
      startedAt,
      ...(share !== undefined && { eventLoop: share }),
      connections: connections(),
      ...(ready.registryVersion !== undefined && { registryVersion: ready.registryVersion }),
      backends: backends.map(({ name, addresses, login }) => {
        const end = login?.();
        return {
          name,
          addresses: (addresses?.() ?? []).map(({ address, isUp }) => ({ address, isUp })),
          ...(end !== undefined && { login: end }),
        };
      }),
      certificates: certificates().map(({ role, text, secondsLeft }) => ({
        role,
        ...(secondsLeft !== undefined && { until: now() + secondsLeft * 1000 }),
        ...(text !== "ok" && { problem: text.slice(0, longestText) }),
      })),
      problems: problemsOf(ready),
      keyFailures: keyFailures().slice(0, mostFailures),
    };
  };
}
