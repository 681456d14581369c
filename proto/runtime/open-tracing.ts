// Which adapter of tracing.ts: the SDK is loaded only where it is wanted.
import type { Log } from "./log.ts";
import { noTracing, type Tracing, type TracingConfig } from "./tracing.ts";

/** @param config undefined: nothing is traced, nothing is loaded */
export async function openTracing(
  service: string,
  version: string,
  config: TracingConfig | undefined,
  log?: Log,
): Promise<Tracing> {
  if (config === undefined) return noTracing;
  const { createOpenTelemetry } = await import("./opentelemetry.ts");
  return createOpenTelemetry(service, version, config, log);
}
