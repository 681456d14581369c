// The mTLS listener. Outermost is the audit: exactly one record for each request, and no reply
// leaves without it. The only file that imports fastify. (docs/architecture.md #wire and #audit.)
import { constants } from "node:crypto";
import type { Server } from "node:https";
import type { TLSSocket } from "node:tls";
import { formatEpoch, parseEpoch } from "@claviger/proto/wire/epoch.ts";
import { KmsError, toKmsError } from "@claviger/proto/wire/errors.ts";
import { zeroize } from "@claviger/proto/runtime/secret.ts";
import { type Attributes, noTracing, type Tracing } from "@claviger/proto/runtime/tracing.ts";
import type { TrustDomain } from "@claviger/proto/wire/names.ts";
import { contentTypes, headers, limits, type Method, methods } from "@claviger/proto/wire/protocol.ts";
import { fastify, type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import type { TlsFiles } from "@claviger/gateway-core/src/config.ts";
import type { AuditLog } from "@claviger/gateway-core/src/audit/log.ts";
import { describeError, type Log } from "@claviger/proto/runtime/log.ts";
import type { Identity } from "@claviger/gateway-core/src/identity.ts";
import type { Metrics } from "../metrics.ts";
import { encodeError, encodingOf, parseTimeout } from "./connect.ts";
import { Exchange } from "./exchange.ts";
import { createIdentifier } from "./identifier.ts";
import type { Handler } from "./routes.ts";

export type KmsHttpServer = {
  /** Resolves with the port. @throws the system's error, e.g. EADDRINUSE */
  listen(address: string, port: number): Promise<number>;
  /**
   * Takes new TLS files for new connections; when the client CA changed, connections of the old one
   * are closed as they fall idle.
   */
  setTls(files: TlsFiles): void;
  /** Stops accepting, lets every request under way finish, closes. */
  close(): Promise<void>;
};

const callerMs = 10_000;
// No session tickets: a resumed session would not be held against a changed client CA.
function tlsOptions({ cert, key, clientCa }: TlsFiles) {
  return { cert, key, ca: clientCa, minVersion: "TLSv1.3", secureOptions: constants.SSL_OP_NO_TICKET } as const;
}

function attributesOf(identity: Identity): Attributes {
  return identity.kind === "node"
    ? { "claviger.cluster": identity.cluster, "claviger.node": identity.node }
    : { "claviger.operator": identity.operator };
}

function nameOf(url: string): string {
  const known = Object.entries(methods).find(([, path]) => path === url.split("?")[0]);
  return known?.[0] ?? "unknown";
}

export function createKmsHttpServer({
  tls,
  trustDomain,
  trustedProxies = [],
  handlers,
  tracing = noTracing,
  audit,
  metrics,
  log,
}: {
  readonly tls: TlsFiles;
  readonly trustDomain: TrustDomain;
  /** URI SANs of proxies that may pass on a client's certificate in x-forwarded-client-cert. */
  readonly trustedProxies?: readonly string[];
  readonly handlers: Readonly<Record<Method, Handler>>;
  readonly tracing?: Tracing;
  readonly audit: AuditLog;
  readonly metrics: Metrics;
  readonly log: Log;
}): KmsHttpServer {
  const app: FastifyInstance<Server> = fastify({
    https: { ...tlsOptions(tls), requestCert: true, rejectUnauthorized: true },
    logger: false,
    bodyLimit: limits.batchMessage,
    requestTimeout: callerMs,
    return503OnClosing: false,
  });
  const exchanges = new WeakMap<FastifyRequest, Exchange>();
  const sockets = new Set<TLSSocket>();
  let clientCa = tls.clientCa;
  const identify = createIdentifier(trustDomain, trustedProxies, () => clientCa);
  let isDraining = false;
  let isRetired = new WeakSet<TLSSocket>();

  const exchangeOf = (request: FastifyRequest): Exchange => {
    let exchange = exchanges.get(request);
    if (exchange === undefined) {
      exchange = new Exchange(nameOf(request.url));
      exchanges.set(request, exchange);
    }
    return exchange;
  };

  // The body in one buffer of our own; the chunks, which belong to the connection, are wiped.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", async (request: FastifyRequest, payload: AsyncIterable<Buffer>) => {
    const limit = request.url === methods.decryptBatch ? limits.batchMessage : limits.message;
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of payload) {
      size += chunk.length;
      if (size > limit) throw new KmsError("request_too_large");
      chunks.push(chunk);
    }
    const body = exchangeOf(request).own(Buffer.concat(chunks));
    chunks.forEach(zeroize);
    return body;
  });

  const fail = (request: FastifyRequest, reply: FastifyReply, thrown: unknown): string => {
    const error = toKmsError(thrown);
    const exchange = exchangeOf(request);
    exchange.reason = error.reason;
    if (error.reason === "internal")
      log.error(
        { event: "internal-error", method: exchange.method, err: error },
        "a request failed in a way that nobody foresaw",
      );
    else log.debug({ event: "request-failed", method: exchange.method, err: error }, "a request failed");
    const { status, body } = encodeError(error);
    void reply.code(status).headers({ "content-type": "application/json", [headers.reason]: error.reason });
    return body;
  };

  app.addHook("onRequest", async (request) => {
    const exchange = exchangeOf(request);
    metrics.started();
    exchange.identity = identify(request.raw.socket as TLSSocket, request.headers["x-forwarded-client-cert"]);
  });

  app.addHook("onSend", async (request, reply, payload) => {
    const exchange = exchangeOf(request);
    if (exchange.trail.epoch !== undefined) void reply.header(headers.epoch, formatEpoch(exchange.trail.epoch));
    if (isDraining || isRetired.has(request.raw.socket as TLSSocket)) void reply.header("connection", "close");
    try {
      await audit.record(exchange.entry(request.ip));
      return payload;
    } catch (thrown) {
      return fail(request, reply, thrown);
    }
  });

  app.addHook("onResponse", async (request) => {
    const exchange = exchangeOf(request);
    exchange.end();
    metrics.finished(exchange.method, exchange.reason ?? "ok", exchange.milliseconds);
  });

  app.addHook("onRequestAbort", async (request) => {
    exchangeOf(request).abort?.(new KmsError("canceled"));
  });

  app.setErrorHandler(async (error, request, reply) => {
    const isParseError = !(error instanceof KmsError) && (error as { statusCode?: number }).statusCode === 400;
    return await reply.send(
      fail(request, reply, isParseError ? new KmsError("request_malformed", { cause: error }) : error),
    );
  });
  app.setNotFoundHandler(
    async (request, reply) => await reply.send(fail(request, reply, new KmsError("method_unknown"))),
  );

  for (const [name, path] of Object.entries(methods) as readonly [Method, string][]) {
    app.post(path, async (request, reply) => {
      const exchange = exchangeOf(request);
      const { identity } = exchange;
      if (identity === undefined || !Buffer.isBuffer(request.body))
        throw new KmsError("request_malformed", { cause: new Error("no body") });
      const encoding = encodingOf(request.headers["content-type"]);
      if ((request.headers["content-encoding"] ?? "identity") !== "identity")
        throw new KmsError("method_unknown", { cause: new Error("a compressed body") });
      const controller = new AbortController();
      exchange.abort = (error) => controller.abort(error);
      const timeout = parseTimeout(request.headers[headers.timeout], callerMs);
      const timer = setTimeout(() => exchange.abort?.(new KmsError("deadline_exceeded")), timeout);
      const late = new Promise<never>((_, reject) => {
        controller.signal.addEventListener("abort", () => reject(toKmsError(controller.signal.reason)));
      });
      try {
        const call = {
          identity,
          seen: parseEpoch(request.headers[headers.epoch]),
          signal: controller.signal,
          trail: exchange.trail,
        };
        const { body } = request;
        const answer = await tracing.span(
          `kms ${name}`,
          { kind: "server", parent: String(request.headers[headers.traceparent]), attributes: attributesOf(identity) },
          () => Promise.race([handlers[name](call, body, encoding, exchange), late]),
        );
        return await reply.headers({ "content-type": contentTypes[encoding], ...answer.headers }).send(answer.body);
      } finally {
        clearTimeout(timer);
      }
    });
  }

  const onHandshakeFailure = (error: Error, socket: TLSSocket): void => {
    const exchange = new Exchange("handshake");
    exchange.reason = "identity_invalid";
    log.debug({ event: "handshake-failed", problem: describeError(error) }, "a TLS handshake failed");
    metrics.handshakeFailed();
    audit.record(exchange.entry(socket.remoteAddress)).catch(() => {});
  };

  app.server.on("tlsClientError", onHandshakeFailure);
  app.server.on("secureConnection", (socket: TLSSocket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });

  return {
    async listen(host, port) {
      await app.listen({ host, port });
      const address = app.server.address();
      return typeof address === "object" && address !== null ? address.port : port;
    },
    setTls(files) {
      app.server.setSecureContext(tlsOptions(files));
      // A connection outlives the CA that let it in: end it with its next reply.
      if (files.clientCa !== clientCa) isRetired = new WeakSet(sockets);
      clientCa = files.clientCa;
    },
    async close() {
      isDraining = true;
      app.server.closeIdleConnections();
      await app.close();
    },
  };
}
