// One gateway: a pool of mTLS connections, and what its answers and failures mean. The only file that
// imports undici. (docs/architecture.md #wire.)
import { createSecureContext, type PeerCertificate } from "node:tls";
import { type EpochClaim, epochHeaders, readEpochClaim } from "@claviger/proto/wire/epoch.ts";
import { KmsError, parseReason, type Reason } from "@claviger/proto/wire/errors.ts";
import { contentTypes, headers, limits, livezPath, type Method, methods } from "@claviger/proto/wire/protocol.ts";
import { createLookup } from "@claviger/proto/runtime/lookup.ts";
import { steadyNow } from "@claviger/proto/runtime/clock.ts";
import { exchange, type ExchangeReply, type ExchangeRequest } from "@claviger/proto/runtime/exchange.ts";
import { Pool } from "undici";
import {
  checkIdentities,
  createFailures,
  type HandshakeRefusal,
  staleForMs,
  text,
  unavailable,
} from "./gateway-answers.ts";

/** PEM texts of the shim's certificate and key, and the CA of the gateways. */
export type ClientTls = {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  /** Sent as SNI, and held against the certificate where `serverIdentities` is absent. */
  readonly serverName: string | undefined;
  /** SPIFFE ids and DNS names, of which a gateway's certificate must carry one. */
  readonly serverIdentities?: readonly string[] | undefined;
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
  /** Milliseconds of the process' steady clock. */
  readonly deadline: number;
  readonly epoch?: EpochClaim | undefined;
  /** With a Status: what the shim says of itself. */
  readonly report?: string | undefined;
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

export type Gateway = {
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

/** A gateway of another cell is asked after the others for so long: clusters seldom move. */
const notServedMs = 60_000;

const lookup = createLookup();

/**
 * One gateway.
 * @param traceparent of the trace that a call is in, to pass on
 * @param onRefusal called for each handshake that one side refused
 */
export function createGateway(
  url: string,
  tls: ClientTls,
  traceparent: () => string | undefined,
  onRefusal: (refusal: HandshakeRefusal) => void,
): Gateway {
  const { unreachable, foreign } = createFailures(tls.cert, onRefusal);
  const { serverName, serverIdentities } = tls;
  const pool = new Pool(url, {
    connections: 16,
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: idleMs,
    keepAliveMaxTimeout: idleMs,
    headersTimeout: 30_000,
    bodyTimeout: 30_000,
    connect: {
      // Once for all connections: it costs as much as a handshake.
      secureContext: createSecureContext({
        cert: tls.cert,
        key: tls.key,
        ca: tls.ca,
        // An intermediate is enough, as for Go and curl.
        allowPartialTrustChain: true,
        minVersion: "TLSv1.3",
      }),
      timeout: connectMs,
      lookup,
      ...(serverName !== undefined && { servername: serverName }),
      ...(serverIdentities !== undefined && {
        checkServerIdentity: (host: string, certificate: PeerCertificate) =>
          checkIdentities(serverIdentities, host, certificate),
      }),
    },
  });
  const ask = (request: Omit<ExchangeRequest, "maxReplyBytes">): Promise<ExchangeReply> =>
    exchange(pool, { ...request, answersInTime: true, maxReplyBytes: limits.batchMessage }).catch((error: unknown) => {
      throw unreachable(error);
    });
  return {
    url,
    async ask({ method, body, deadline, epoch, report, accept }, signal) {
      const trace = traceparent();
      const reply = await ask({
        method: "POST",
        path: methods[method],
        headers: {
          "content-type": contentTypes.proto,
          [headers.protocolVersion]: "1",
          [headers.timeout]: String(Math.max(1, deadline - steadyNow())),
          ...(trace !== undefined && { [headers.traceparent]: trace }),
          ...(report !== undefined && { [headers.shim]: report }),
          ...epochHeaders(epoch),
        },
        body,
        signal,
      });
      const said = readEpochClaim(reply.headers);
      if (reply.status === 200) {
        // A web server that knows nothing of the request, or a portal that wants a login.
        if (text(reply.headers["content-type"]) !== contentTypes.proto)
          throw unavailable("status 200, and not an answer of a gateway");
        accept?.({ method, epoch: said });
        return { body: reply.body, epoch: said, staleForMs: staleForMs(reply.headers) };
      }
      const reason = parseReason(text(reply.headers[headers.reason]));
      if (reason !== undefined) accept?.({ method, epoch: said, reason });
      if (reason === "cluster_not_served") throw new KmsError(reason, { retryAfterMs: notServedMs });
      throw reason !== undefined ? new KmsError(reason) : foreign(reply.status, text(reply.headers[headers.handshake]));
    },
    async probe(signal) {
      const reply = await ask({ method: "GET", path: livezPath, headers: {}, signal });
      const reason = parseReason(text(reply.headers[headers.reason]));
      // A gateway of 0.1.0 does not know the path, and says so in words of its own.
      if (reply.status === 200 || reason === "method_unknown") return;
      throw reason === undefined ? foreign(reply.status, text(reply.headers[headers.handshake])) : new KmsError(reason);
    },
    close: () => pool.close(),
    destroy: () => pool.destroy(),
  };
}
