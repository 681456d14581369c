// The gateways as one: what the endpoint pool, which chooses among them, needs to know.
// (docs/architecture.md #shim and #endpoints.)
import { createEndReports } from "@claviger/proto/runtime/end-reports.ts";
import { createEndpointPool } from "@claviger/proto/runtime/endpoint-pool.ts";
import { steadyNow } from "@claviger/proto/runtime/clock.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { KmsError, rowOf, toKmsError } from "@claviger/proto/wire/errors.ts";
import { type ClientTls, createGateway, type Gateway, type UpstreamCall, type UpstreamReply } from "./gateway.ts";
import type { Metrics } from "./metrics.ts";

export type { Answered, UpstreamCall, UpstreamReply } from "./gateway.ts";

export interface Upstream {
  /** @throws KmsError: a gateway's own reason, or gateway_unavailable, or deadline_exceeded */
  call(call: UpstreamCall): Promise<UpstreamReply>;
  /** Takes a new list and new certificates; calls under way finish on the old connections. */
  configure(urls: readonly string[], tls: ClientTls): void;
  /** Each gateway, and why it is not asked, or serves other clusters; undefined for one that is. */
  gateways(): readonly { readonly url: string; readonly problem: string | undefined }[];
  /** Ends what is under way: a gateway that takes no connection must not hold up a stop. */
  close(): Promise<void>;
}

function describeFailure({ reason, cause }: KmsError): string {
  const isOurs = reason === "gateway_unavailable" || reason === "deadline_exceeded";
  return isOurs && cause instanceof Error ? cause.message : reason;
}

/** How much an error tells of the cluster's keys: a gateway of another cell knows nothing of them. */
function weightOf({ reason }: KmsError): number {
  return reason === "cluster_not_served" ? 0 : reason === "gateway_unavailable" ? 1 : 2;
}

const never = new AbortController().signal;

/** @param traceparent of the trace that the call is in, to pass on */
export function createUpstream(
  urls: readonly string[],
  tls: ClientTls,
  metrics: Metrics,
  traceparent: () => string | undefined = () => undefined,
  log?: Log,
): Upstream {
  const connect = (list: readonly string[], files: ClientTls): readonly Gateway[] =>
    list.map((url) =>
      createGateway(url, files, traceparent, ({ by, failure }) => metrics.handshakeFailed(by, failure)),
    );
  let gateways = connect(urls, tls);
  const reports = createEndReports({
    down: (gateway, err) =>
      log?.warn({ event: "gateway-down", gateway, err }, "this gateway does not serve; others are asked"),
    up: (gateway) => log?.info({ event: "gateway-up", gateway }, "this gateway answers again"),
  });
  const pool = createEndpointPool<Gateway>({
    endpoints: gateways,
    nameOf: ({ url }) => url,
    choice: "fastest",
    warm: true,
    probe: (gateway, signal) => gateway.probe(signal),
    isFault: ({ reason }) => rowOf(reason).kind === "outage",
    // A gateway whose key backend is away says so at every call, and is there.
    isBusy: ({ reason }) => reason !== "gateway_unavailable" && reason !== "gateway_draining",
    isFull: ({ reason }) => reason === "overloaded",
    // What a gateway says of itself tells more than that it could not be reached.
    moreSpecific: (a, b) => (weightOf(b) > weightOf(a) ? b : a),
    onChange: ({ url }, failure) => reports.changed(url, failure),
    onExtra: () => metrics.retried(),
  });
  metrics.observeGateways(() => pool.states().map(({ endpoint, isUp }) => ({ gateway: endpoint.url, isUp })));

  return {
    async call(call) {
      const { method, deadline, hedge, signal = never } = call;
      try {
        return await pool.run({
          attempt: async (gateway, own) => {
            try {
              const reply = await gateway.ask(call, own);
              metrics.upstreamAsked(method, "ok");
              return reply;
            } catch (thrown) {
              metrics.upstreamAsked(method, toKmsError(thrown).reason);
              throw thrown;
            }
          },
          leftMs: deadline - steadyNow(),
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
    gateways: () =>
      pool.states().map(({ endpoint, failure, busy }) => ({
        url: endpoint.url,
        // The table's sentence says that it cannot be reached, and the cause says why.
        problem:
          failure !== undefined
            ? describeFailure(failure)
            : busy?.reason === "cluster_not_served"
              ? busy.reason
              : undefined,
      })),
    async close() {
      pool.close();
      reports.close();
      await Promise.all(gateways.map((gateway) => gateway.destroy()));
    },
  };
}
