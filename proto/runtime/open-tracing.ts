// Which adapter of tracing.ts: the SDK is loaded only where it is wanted.
import { type Check, CheckError } from "./check.ts";
import type { Log } from "./log.ts";
import type { Service } from "./resource.ts";
import { noTracing, type Tracing, type TracingConfig } from "./tracing.ts";

/** @param config undefined: nothing is traced, nothing is loaded */
export async function openTracing(service: Service, config: TracingConfig | undefined, log?: Log): Promise<Tracing> {
  if (config === undefined) return noTracing;
  const { createOpenTelemetry } = await import("./opentelemetry.ts");
  return createOpenTelemetry(service, config, log);
}

/** Adds a row: does the collector take traces? Sends none. */
export async function checkTracing(check: Check, config: TracingConfig | undefined): Promise<void> {
  if (config === undefined) return;
  await check.step("tracing", async () => {
    const { probeCollector } = await import("./opentelemetry.ts");
    try {
      await probeCollector(config);
    } catch (error) {
      const { code } = error as { readonly code?: unknown };
      if (typeof code !== "number") throw error;
      throw new CheckError(
        `${config.endpoint} answers ${code} to a request of OTLP over HTTP`,
        "correct the endpoint, path included: most collectors take traces at /v1/traces",
      );
    }
    return { found: `${config.endpoint} takes traces`, value: true };
  });
}
