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
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  type SpanExporter,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import { type ConnectCode, rowOf, toKmsError } from "../wire/errors.ts";
import type { Log } from "./log.ts";
import { resourceOf, type Service } from "./resource.ts";
import type { Rpc, Tracing, TracingConfig } from "./tracing.ts";

/** How long the end of a process waits for spans to be sent. */
const closeMs = 1000;

const kinds = { server: SpanKind.SERVER, client: SpanKind.CLIENT } as const;

/** Semantic conventions 1.45 for RPC. */
function rpcAttributes({ system, method }: Rpc): Record<string, string> {
  return { "rpc.system.name": system, "rpc.method": method };
}

/** gRPC writes its codes in capitals, and has one for success; Connect has neither. */
function statusCode({ system }: Rpc, code: ConnectCode): string {
  if (system === "connectrpc") return code;
  return code === "canceled" ? "CANCELLED" : code.toUpperCase();
}

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

/** Passes on what is exported, and says when spans begin to be lost and when they arrive again. */
function createReportingExporter(exporter: SpanExporter, log: Log | undefined) {
  let problem: string | undefined;
  const report = (error: Error | undefined, isLost: boolean): void => {
    const wasLost = problem !== undefined;
    problem = isLost ? describeExport(error) : undefined;
    if (isLost && !wasLost)
      log?.warn({ event: "traces-lost", problem }, "the collector takes no traces; they are lost, and nothing else is");
    if (!isLost && wasLost) log?.info({ event: "traces-sent" }, "the collector takes traces again");
  };
  const reporting: SpanExporter = {
    export: (spans, done) =>
      exporter.export(spans, (result) => {
        // SUCCESS of an enum that the SDK does not export.
        const { code }: { readonly code: number } = result;
        report(result.error, code !== 0);
        done(result);
      }),
    shutdown: () => exporter.shutdown(),
    ...(exporter.forceFlush !== undefined && { forceFlush: () => exporter.forceFlush?.() ?? Promise.resolve() }),
  };
  return { exporter: reporting, health: () => problem ?? "ok" };
}

/** The system's code, or an HTTP status: a collector's own words may be long. */
function describeExport(error: Error | undefined): string {
  const { code } = (error ?? {}) as { readonly code?: string | number };
  if (typeof code === "number") return `it answers ${code}`;
  return code ?? "it gives no answer that counts";
}

export function createOpenTelemetry(service: Service, { endpoint, ratio, delay }: TracingConfig, log?: Log): Tracing {
  const { exporter, health } = createReportingExporter(new OTLPTraceExporter({ url: endpoint }), log);
  const provider = new TracerProvider({
    resource: resourceOf(service),
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(ratio) }),
    spanProcessors: [new BatchSpanProcessor({ exporter, scheduledDelayMillis: delay })],
  });
  const tracer = provider.getTracer(service.name, service.version);
  const current = new AsyncLocalStorage<Context>();
  const here = (): Context => current.getStore() ?? contextApi.active();
  return {
    async span(name, { kind, parent, attributes, rpc }, work) {
      const remote = parse(parent);
      const base = remote === undefined ? here() : trace.setSpanContext(contextApi.active(), remote);
      const span = tracer.startSpan(
        name,
        { kind: kinds[kind], attributes: { ...(rpc && rpcAttributes(rpc)), ...attributes } },
        base,
      );
      try {
        const result = await current.run(trace.setSpan(base, span), work);
        if (rpc?.system === "grpc") span.setAttribute("rpc.status_code", "OK");
        return result;
      } catch (error) {
        const { reason } = toKmsError(error);
        span.setAttributes({ "claviger.reason": reason, "error.type": reason });
        if (rpc !== undefined) span.setAttribute("rpc.status_code", statusCode(rpc, rowOf(reason).connect));
        span.setStatus({ code: SpanStatusCode.ERROR });
        throw error;
      } finally {
        span.end();
      }
    },
    health,
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

/** Of an answer that says no, and of a connection that does not come about, milliseconds. */
const probeMs = 2000;

/**
 * Sends a request without a span: does the collector take what is sent there?
 * @throws Error with the system's code, or a number, the HTTP status
 */
export async function probeCollector({ endpoint }: TracingConfig): Promise<void> {
  const exporter = new OTLPTraceExporter({ url: endpoint, timeoutMillis: probeMs });
  try {
    await new Promise<void>((resolve, reject) => {
      exporter.export([], ({ error }) => (error === undefined ? resolve() : reject(error)));
    });
  } finally {
    await exporter.shutdown();
  }
}
