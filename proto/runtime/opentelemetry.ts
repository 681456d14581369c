// The adapter of tracing.ts on OpenTelemetry's trace SDK. Spans are made by hand: automatic
// instrumentation doubles what a request costs. The only file that imports the trace SDK and its
// exporter; imported dynamically, so that who does not trace does not load it.
import { AsyncLocalStorage } from "node:async_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import {
  context as contextApi,
  type Context,
  isSpanContextValid,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import { toKmsError } from "../wire/errors.ts";
import type { Tracing, TracingConfig } from "./tracing.ts";

/** How long the end of a process waits for spans to be sent. */
const closeMs = 1000;

const kinds = { server: SpanKind.SERVER, client: SpanKind.CLIENT } as const;

/** W3C Trace Context, version 00. */
function parse(header: string | undefined): SpanContext | undefined {
  const [, traceId = "", spanId = "", flags = ""] =
    /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(header ?? "") ?? [];
  const found = { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & 1, isRemote: true };
  return isSpanContextValid(found) ? found : undefined;
}

function format({ traceId, spanId, traceFlags }: SpanContext): string {
  return `00-${traceId}-${spanId}-0${traceFlags & 1}`;
}

export function createOpenTelemetry(
  service: string,
  version: string,
  { endpoint, ratio, delay }: TracingConfig,
): Tracing {
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ "service.name": service, "service.version": version }),
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(ratio) }),
    spanProcessors: [
      new BatchSpanProcessor({ exporter: new OTLPTraceExporter({ url: endpoint }), scheduledDelayMillis: delay }),
    ],
  });
  const tracer = provider.getTracer(service, version);
  const current = new AsyncLocalStorage<Context>();
  const here = (): Context => current.getStore() ?? contextApi.active();
  return {
    async span(name, { kind, parent, attributes }, work) {
      const remote = parse(parent);
      const base = remote === undefined ? here() : trace.setSpanContext(contextApi.active(), remote);
      const span = tracer.startSpan(
        name,
        { kind: kinds[kind], ...(attributes !== undefined && { attributes: { ...attributes } }) },
        base,
      );
      try {
        return await current.run(trace.setSpan(base, span), work);
      } catch (error) {
        span.setAttribute("claviger.reason", toKmsError(error).reason);
        span.setStatus({ code: SpanStatusCode.ERROR });
        throw error;
      } finally {
        span.end();
      }
    },
    traceparent: () => {
      const span = trace.getSpanContext(here());
      return span === undefined ? undefined : format(span);
    },
    async close() {
      // A collector that is away holds up no stop.
      await Promise.race([provider.shutdown().catch(() => {}), sleep(closeMs, undefined, { ref: false })]);
    },
  };
}
