// What every program shows of itself: its build, its process under the names that Prometheus' clients use, how
// busy its event loop is, and when its certificates expire.
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { CertificateState } from "./expiry.ts";
import type { Meter } from "./meter.ts";

/** The names that all programs share; the label `program` tells them apart. */
export const processNames = {
  build: "claviger_build_info",
  loopDelay: "claviger_event_loop_delay_seconds",
  loopUtilization: "claviger_event_loop_utilization_ratio",
  certificateStart: "claviger_certificate_not_before_timestamp_seconds",
  certificateExpiry: "claviger_certificate_expiry_timestamp_seconds",
  cpu: "process_cpu_seconds",
  memory: "process_resident_memory_bytes",
  started: "process_start_time_seconds",
} as const;

/** Node's `process`, as far as it is wanted. */
export type OwnProcess = {
  readonly version: string;
  cpuUsage(): { readonly user: number; readonly system: number };
  readonly memoryUsage: { rss(): number };
  uptime(): number;
};

/** Of the last whole span of so many milliseconds: two scrapers see the same. */
const spanMs = 10_000;
/** How finely the delay is measured, milliseconds. */
const resolutionMs = 10;
/** Each with its percentile. */
const statistics = { p50: 50, p99: 99, max: 100 } as const;

/** What the event loop did in the last whole span; in the first one, so far. */
function watchEventLoop() {
  const histogram = monitorEventLoopDelay({ resolution: resolutionMs });
  histogram.enable();
  let before = performance.eventLoopUtilization();
  let beganAt = performance.now();
  const read = () => ({
    utilization: performance.eventLoopUtilization(before).utilization,
    // The timer's own pause is no delay. Without a measurement yet there is none.
    delays: Object.entries(statistics).map(([statistic, percentile]) => {
      const ms = histogram.count === 0 ? 0 : histogram.percentile(percentile) / 1e6 - resolutionMs;
      return { value: Math.max(0, ms) / 1000, labels: { statistic } };
    }),
  });
  let last: ReturnType<typeof read> | undefined;
  return () => {
    if (performance.now() - beganAt >= spanMs) {
      last = read();
      before = performance.eventLoopUtilization();
      beganAt = performance.now();
      histogram.reset();
    }
    return last ?? read();
  };
}

/** @param own Node's `process`; the label `program` is `gateway`, `shim` or `fleet` */
export function observeProcess(meter: Meter, program: string, version: string, own: OwnProcess): void {
  meter.gauge(processNames.build, "1; which program this is, its version and that of Node.js", () => [
    { value: 1, labels: { program, version, node_version: own.version.replace(/^v/, "") } },
  ]);
  meter.observedCounter(processNames.cpu, "Time of the processor that the process has used, user and system", () => {
    const { user, system } = own.cpuUsage();
    return (user + system) / 1e6;
  });
  meter.gauge(processNames.memory, "Resident memory of the process", () => own.memoryUsage.rss());
  const startedAt = Date.now() / 1000 - own.uptime();
  meter.gauge(processNames.started, "When the process started, Unix time", () => startedAt);
  const loop = watchEventLoop();
  meter.gauge(
    processNames.loopUtilization,
    "Share of ten seconds in which the event loop worked: a process is one core",
    () => [{ value: loop().utilization, labels: { program } }],
  );
  meter.gauge(processNames.loopDelay, "How late the event loop came to what was due, in ten seconds", () =>
    loop().delays.map(({ value, labels }) => ({ value, labels: { program, ...labels } })),
  );
}

/** @param earlierName a gauge of the last release, in seconds from now, that is still shown */
export function observeCertificates(
  meter: Meter,
  program: string,
  earlierName: string,
  read: () => readonly CertificateState[],
): void {
  meter.gauge(processNames.certificateExpiry, "When a certificate in use, or a CA, expires, Unix time", () =>
    read().flatMap(({ role, expiresAt }) =>
      expiresAt === undefined ? [] : [{ value: expiresAt, labels: { program, role } }],
    ),
  );
  meter.gauge(processNames.certificateStart, "From when on that certificate is valid, Unix time", () =>
    read().flatMap(({ role, validFrom }) =>
      validFrom === undefined ? [] : [{ value: validFrom, labels: { program, role } }],
    ),
  );
  meter.gauge(
    earlierName,
    `Earlier form of ${processNames.certificateExpiry}, in seconds from now; the next release has it no more`,
    () =>
      read().flatMap(({ role, secondsLeft }) =>
        secondsLeft === undefined ? [] : [{ value: secondsLeft, labels: { role } }],
      ),
  );
}
