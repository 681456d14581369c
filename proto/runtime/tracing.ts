// Traces: one from the caller through shim and gateway to the key backend. A port with two
// adapters: nothing, and OpenTelemetry (opentelemetry.ts), which is loaded only where it is
// configured. Attributes come from closed sets and names; never a key, a ciphertext or a plaintext.
import { z, zDuration } from "./config.ts";

export type SpanKind = "server" | "client";
export type Attributes = Readonly<Record<string, string | number>>;

/** A call of an RPC: which protocol, and the method as `package.Service/Method`. */
export type Rpc = { readonly system: "grpc" | "connectrpc"; readonly method: string };

export interface Tracing {
  /**
   * Runs `work` in a span; inside it further spans are its children. A rejection is recorded by its
   * reason and passed on.
   * @param rpc what the span is of: gives it the attributes of OpenTelemetry's semantic conventions for RPC
   * @param parent a traceparent header; without one, the span that we are in
   */
  span<T>(
    name: string,
    options: {
      readonly kind: SpanKind;
      readonly parent?: string | undefined;
      readonly attributes?: Attributes;
      readonly rpc?: Rpc;
    },
    work: () => Promise<T>,
  ): Promise<T>;
  /** The traceparent header to send on from here. */
  readonly traceparent: () => string | undefined;
  /** `ok`, or why spans are lost. */
  readonly health: () => string;
  /** Sends what is left. */
  close(): Promise<void>;
}

/** Where tracing is not configured. */
export const noTracing: Tracing = {
  span: (_name, _options, work) => work(),
  traceparent: () => undefined,
  health: () => "ok",
  close: () => Promise.resolve(),
};

/** The `tracing` section of a configuration. */
export const tracingSchema = z.strictObject({
  /** OTLP over HTTP with protobuf, e.g. http://collector:4318/v1/traces */
  endpoint: z.string().check(
    z.refine(
      (text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol) && new URL(text).username === "",
      {
        error: "must be http(s)://HOST:PORT/v1/traces, without credentials",
      },
    ),
  ),
  /**
   * The share of traces that begin here and are kept; one that comes with a parent follows that.
   */
  ratio: z._default(z.number().check(z.minimum(0), z.maximum(1)), 0.01),
  /** How long spans gather before they are sent. */
  delay: z._default(zDuration("10ms", "1m"), 5000),
});

export type TracingConfig = z.infer<typeof tracingSchema>;
