// The gateways as one: a pool of mTLS connections to each, and what the endpoint pool, which chooses
// among them, needs to know. The only file that imports undici. (docs/architecture.md #wire, #shim
// and #endpoints.)
import { createEndpointPool } from "@claviger/proto/runtime/endpoint-pool.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { type EpochClaim, epochHeaders, readEpochClaim } from "@claviger/proto/wire/epoch.ts";
import { KmsError, parseReason, type Reason, rowOf, toKmsError } from "@claviger/proto/wire/errors.ts";
import { contentTypes, headers, limits, livezPath, type Method, methods } from "@claviger/proto/wire/protocol.ts";
import { Pool } from "undici";
import type { Metrics } from "./metrics.ts";

/** PEM texts of the shim's certificate and key, and the CA of the gateways. */
export type ClientTls = {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  readonly serverName: string | undefined;
};

export type UpstreamReply = {
  /** Message bytes, the receiver's to zeroize. */
  readonly body: Buffer;
  readonly epoch: EpochClaim | undefined;
  /** Milliseconds for which the gateway has had no fresh word from its key backend; undefined while it has. */
  readonly staleForMs: number | undefined;
};

/** What an answer, a refusal included, says of the cluster's epoch. */
export type Answered = {
  readonly method: Method;
  readonly epoch: EpochClaim | undefined;
  /** Undefined on success. */
  readonly reason?: Reason;
};

export type UpstreamCall = {
  readonly method: Method;
  readonly body: Uint8Array;
  /** Unix milliseconds */
  readonly deadline: number;
  readonly epoch?: EpochClaim | undefined;
  /**
   * Looks at what a gateway says of the epoch before its answer counts.
   * @throws KmsError when another gateway has to be asked
   */
  readonly accept?: (answered: Answered) => void;
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
  /** Ends what is under way: a gateway that takes no connection must not hold up a stop. */
  close(): Promise<void>;
}

type Gateway = {
  readonly url: string;
  /** @throws KmsError: a reason of the gateway's, or gateway_unavailable for whatever is between us */
  ask(call: UpstreamCall, signal: AbortSignal): Promise<UpstreamReply>;
  /** Resolves when the gateway would serve; makes a connection where there is none. @throws KmsError */
  probe(signal: AbortSignal): Promise<void>;
  /** Lets requests under way finish. */
  close(): Promise<void>;
  /** Ends what is under way, connections that are being made included. */
  destroy(): Promise<void>;
};

/**
 * Connecting goes on in the background when the call that wanted it has given up: a name server that
 * does not answer for five seconds is slow, and then the connection is there.
 */
const connectMs = 15_000;
/** A gateway keeps idle connections for hours, and so does a shim: handshakes are dear. */
const idleMs = 4 * 3600_000;

function text(value: string | string[] | undefined): string | undefined {
  return typeof value === "string" ? value : undefined;
}

// A gateway of 0.1.0 names a time of its own clock.
function staleForMs(given: Readonly<Record<string, string | string[] | undefined>>): number | undefined {
  const [age, since] = [text(given[headers.staleFor]), text(given[headers.staleSince])];
  const milliseconds = age !== undefined ? Number(age) : since !== undefined ? Date.now() - Number(since) : undefined;
  return milliseconds === undefined || !Number.isFinite(milliseconds) ? undefined : Math.max(0, milliseconds);
}

/** Only what kind of fault it was: undici's errors may hold on to the request. */
function unreachable(error: unknown): KmsError {
  const { code, name } = error as NodeJS.ErrnoException;
  return new KmsError("gateway_unavailable", { cause: new Error(code ?? name) });
}

async function collect(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > limits.batchMessage)
      throw new KmsError("gateway_unavailable", { cause: new Error("a reply that is too large") });
    chunks.push(chunk);
  }
  const all = Buffer.concat(chunks);
  for (const chunk of chunks) chunk.fill(0);
  return all;
}

/** One gateway. */
function createGateway(url: string, tls: ClientTls, traceparent: () => string | undefined): Gateway {
  const pool = new Pool(url, {
    connections: 16,
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: idleMs,
    keepAliveMaxTimeout: idleMs,
    headersTimeout: 30_000,
    bodyTimeout: 30_000,
    connect: {
      cert: tls.cert,
      key: tls.key,
      ca: tls.ca,
      minVersion: "TLSv1.3",
      timeout: connectMs,
      ...(tls.serverName !== undefined && { servername: tls.serverName }),
    },
  });
  return {
    url,
    async ask({ method, body, deadline, epoch, accept }, signal) {
      const trace = traceparent();
      const reply = await pool
        .request({
          method: "POST",
          path: methods[method],
          headers: {
            "content-type": contentTypes.proto,
            [headers.protocolVersion]: "1",
            [headers.timeout]: String(Math.max(1, deadline - Date.now())),
            ...(trace !== undefined && { [headers.traceparent]: trace }),
            ...epochHeaders(epoch),
          },
          body,
          signal,
        })
        .catch((error: unknown) => {
          throw unreachable(error);
        });
      const bytes = await collect(reply.body).catch((error: unknown) => {
        throw error instanceof KmsError
          ? error
          : new KmsError("gateway_unavailable", { cause: new Error("the reply broke off") });
      });
      const said = readEpochClaim(reply.headers);
      if (reply.statusCode === 200) {
        accept?.({ method, epoch: said });
        return { body: bytes, epoch: said, staleForMs: staleForMs(reply.headers) };
      }
      const reason = parseReason(text(reply.headers[headers.reason]));
      if (reason !== undefined) accept?.({ method, epoch: said, reason });
      // No reason of ours: some proxy's 502, a foreign server.
      throw reason !== undefined
        ? new KmsError(reason)
        : new KmsError("gateway_unavailable", { cause: new Error(`status ${reply.statusCode}`) });
    },
    async probe(signal) {
      const reply = await pool.request({ method: "GET", path: livezPath, signal }).catch((error: unknown) => {
        throw unreachable(error);
      });
      await reply.body.dump();
      const reason = parseReason(text(reply.headers[headers.reason]));
      // A gateway of 0.1.0 does not know the path, and says so in words of its own.
      if (reply.statusCode === 200 || reason === "method_unknown") return;
      throw reason === undefined
        ? new KmsError("gateway_unavailable", { cause: new Error(`status ${reply.statusCode}`) })
        : new KmsError(reason);
    },
    close: () => pool.close(),
    destroy: () => pool.destroy(),
  };
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
    list.map((url) => createGateway(url, files, traceparent));
  let gateways = connect(urls, tls);
  const pool = createEndpointPool<Gateway>({
    endpoints: gateways,
    nameOf: ({ url }) => url,
    choice: "fastest",
    warm: true,
    probe: (gateway, signal) => gateway.probe(signal),
    isFault: ({ reason }) => rowOf(reason).kind === "outage",
    // A gateway whose key backend is away says so at every call, and is there.
    isBusy: ({ reason }) => reason !== "gateway_unavailable" && reason !== "gateway_draining",
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
      await Promise.all(gateways.map((gateway) => gateway.destroy()));
    },
  };
}
