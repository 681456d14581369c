// Several gateways as one: what the endpoint pool needs to know of a gateway, and what a call is to
// it. (docs/architecture.md #shim.)
import { createEndpointPool } from "@claviger/proto/runtime/endpoint-pool.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
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

const never = new AbortController().signal;

export function createUpstream(
  urls: readonly string[],
  tls: ClientTls,
  metrics: Metrics,
  traceparent: () => string | undefined = () => undefined,
  log?: Log,
): Upstream {
  const connect = (list: readonly string[], files: ClientTls): readonly Gateway[] =>
    list.map((url) => createGateway(url, files, traceparent));
  let gateways = connect(urls, tls);
  const pool = createEndpointPool<Gateway>({
    endpoints: gateways,
    choice: "fastest",
    probe: (gateway, signal) => gateway.probe(signal),
    isFault: ({ reason }) => rowOf(reason).kind === "outage",
    // What a gateway says of itself tells more than that it could not be reached.
    moreSpecific: (a, b) => (a.reason === "gateway_unavailable" ? b : a),
    onChange: ({ url }, failure) => {
      if (failure === undefined) log?.info({ event: "gateway-up", gateway: url }, "this gateway answers again");
      else
        log?.warn(
          { event: "gateway-down", gateway: url, err: failure },
          "this gateway does not serve; others are asked",
        );
    },
    onExtra: () => metrics.retried(),
  });
  metrics.observeGateways(() => pool.states().map(({ endpoint, isUp }) => ({ gateway: endpoint.url, isUp })));

  return {
    async call({ method, body, deadline, epoch, hedge, signal = never }) {
      try {
        return await pool.run({
          attempt: async (gateway, own) => {
            try {
              const reply = await gateway.ask({ method, body, deadline, epoch, signal: own });
              metrics.upstreamAsked(method, "ok");
              return reply;
            } catch (thrown) {
              metrics.upstreamAsked(method, toKmsError(thrown).reason);
              throw thrown;
            }
          },
          leftMs: deadline - Date.now(),
          signal,
          hedge,
          // A Status has the last key_id to fall back on; it need not wait for a better moment.
          repeat: method !== "status",
          discard: (late) => late.body.fill(0),
        });
      } catch (thrown) {
        const error = toKmsError(thrown);
        // No gateway said anything: to the caller that is a gateway that cannot be reached.
        throw error.reason === "deadline_exceeded" && !signal.aborted && method === "status"
          ? new KmsError("gateway_unavailable", { cause: error })
          : error;
      }
    },
    configure(nextUrls, nextTls) {
      const before = gateways;
      gateways = connect(nextUrls, nextTls);
      pool.replace(gateways);
      for (const gateway of before) void gateway.close();
    },
    async close() {
      pool.close();
      await Promise.all(gateways.map((gateway) => gateway.close()));
    },
  };
}
