// The mTLS listener: TLS, routes, drain. What a request means is the handler's. The only file that
// imports fastify. (docs/architecture.md #wire.)
import type { X509Certificate } from "node:crypto";
import type { Server } from "node:https";
import type { Socket } from "node:net";
import type { AuditLog } from "@claviger/gateway-core/src/audit/log.ts";
import { type NodeReports, noNodeReports } from "@claviger/gateway-core/src/redis/node-reports.ts";
import type { TlsFiles } from "@claviger/gateway-core/src/tls-files.ts";
import { splitPem } from "@claviger/proto/runtime/certificates.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { noTracing, type Tracing } from "@claviger/proto/runtime/tracing.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import type { TrustDomain } from "@claviger/proto/wire/names.ts";
import { headers, livezPath, type Method, methods as paths } from "@claviger/proto/wire/protocol.ts";
import { fastify, type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { type CallCounts, noCallCounts } from "../call-counts.ts";
import type { Admission } from "../kms/admission.ts";
import { createOverload, type Overload } from "../kms/overload.ts";
import type { Metrics } from "../metrics.ts";
import { createBodies } from "./bodies.ts";
import { createConnections } from "./connections.ts";
import { encodeError } from "./connect.ts";
import { createHandler, type MethodName } from "./handler.ts";
import { createHandshakeFailures } from "./handshakes.ts";
import { createIdentifier } from "./identifier.ts";
import { defaultListenLimits, type ListenLimits } from "./limits.ts";
import type { KmsMethod } from "./methods.ts";
import { createTurns } from "./turns.ts";
import { anchorsUntil, listenerTls } from "@claviger/gateway-core/src/pki/trust.ts";

export type KmsHttpServer = {
  /** Resolves with the port. @throws the system's error, e.g. EADDRINUSE */
  listen(address: string, port: number): Promise<number>;
  /**
   * Takes new TLS files for new connections. Connections whose certificate does not verify under the
   * new client CA are closed at once.
   */
  setTls(files: TlsFiles): void;
  /** Open connections, handshakes included. */
  connections(): number;
  /** Stops accepting, lets every request under way finish, closes. */
  close(): Promise<void>;
};

const methodOfPath = new Map<string, Method>(
  (Object.entries(paths) as readonly [Method, string][]).map(([method, path]) => [path, method]),
);

export function createKmsHttpServer({
  tls,
  trustDomain,
  trustedProxies = [],
  limits = defaultListenLimits,
  admission,
  overload = createOverload(),
  methods,
  tracing = noTracing,
  audit,
  nodes = noNodeReports,
  counts = noCallCounts,
  metrics,
  log,
}: {
  readonly tls: TlsFiles;
  readonly trustDomain: TrustDomain;
  /** URI SANs of proxies that may pass on a client's certificate in x-forwarded-client-cert. */
  readonly trustedProxies?: readonly string[];
  readonly limits?: ListenLimits;
  readonly admission: Admission;
  readonly overload?: Overload;
  readonly methods: Readonly<Record<Method, KmsMethod>>;
  readonly tracing?: Tracing;
  readonly audit: AuditLog;
  /** Told of each node that asks for a Status, and may. */
  readonly nodes?: NodeReports;
  /** Told of each request when it is answered. */
  readonly counts?: CallCounts;
  readonly metrics: Metrics;
  readonly log: Log;
}): KmsHttpServer {
  let files = tls;
  let authorities = splitPem(tls.clientCa);
  let anchoredUntil = anchorsUntil(authorities);
  let isDraining = false;
  const app: FastifyInstance<Server> = fastify({
    https: {
      ...listenerTls(tls, authorities),
      requestCert: true,
      // `connections` refuses what does not verify, and can then say which certificate it was.
      rejectUnauthorized: false,
      handshakeTimeout: limits.handshakeMs,
      headersTimeout: limits.headersMs,
      connectionsCheckingInterval: 1000,
      keepAlive: true,
      keepAliveInitialDelay: 60_000,
    },
    logger: false,
    requestTimeout: limits.headersMs + limits.bodyMs,
    keepAliveTimeout: limits.idleMs,
    return503OnClosing: false,
    clientErrorHandler: onClientError,
  });
  const turns = createTurns();
  const handle = createHandler({
    identify: createIdentifier(trustDomain, trustedProxies, () => authorities),
    admission,
    overload,
    turns,
    bodies: createBodies({
      totalBytes: limits.bodyBytes,
      identityBytes: limits.bodyBytesPerIdentity,
      bodyMs: limits.bodyMs,
    }),
    methods,
    audit,
    nodes,
    counts,
    metrics,
    tracing,
    log,
    isDraining: () => isDraining,
    sendMs: limits.bodyMs,
  });
  const handshakes = createHandshakeFailures({ audit, metrics, log });
  const isProxy = (certificate: X509Certificate): boolean => {
    const names = certificate.subjectAltName?.split(", ") ?? [];
    return trustedProxies.some((uri) => names.includes(`URI:${uri}`));
  };
  const connections = createConnections({
    server: app.server,
    clientCa: authorities,
    limits,
    handshakes,
    isProxy,
    metrics,
    log,
  });

  // A client CA that expires is trusted no longer from the next connection on.
  app.server.prependListener("connection", () => {
    if (Date.now() <= anchoredUntil) return;
    app.server.setSecureContext(listenerTls(files, authorities));
    anchoredUntil = anchorsUntil(authorities);
  });

  // The answer is the handler's, down to the bytes: Fastify's own way of sending is left out.
  const answer = (request: FastifyRequest, reply: FastifyReply, method: MethodName, failure?: KmsError): void => {
    reply.hijack();
    void handle(method, request.raw, reply.raw, failure);
  };

  // What a parser of HTTP refuses is the caller's fault. There is no request to answer, and so no
  // identity; failed handshakes come here as well, and have nobody who could read an answer.
  function onClientError(error: Error, socket: Socket): void {
    const code = (error as NodeJS.ErrnoException).code ?? error.name;
    metrics.clientError(code);
    log.debug({ event: "request-refused", err: error }, "a connection without an HTTP request was closed");
    if (!code.startsWith("HPE_") || !socket.writable) return void socket.destroy();
    const { status, body } = encodeError(new KmsError("request_malformed"));
    socket.end(`HTTP/1.1 ${status} Bad Request\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
    return undefined;
  }

  // Bodies stay in their socket until the handler wants them.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (_request, _payload, done) => done(null));
  app.setErrorHandler((error, request, reply) => {
    answer(
      request,
      reply,
      methodOfPath.get(request.url) ?? "unknown",
      new KmsError("request_malformed", { cause: error }),
    );
  });
  app.setNotFoundHandler((request, reply) => answer(request, reply, "unknown"));
  for (const [path, method] of methodOfPath) app.post(path, (request, reply) => answer(request, reply, method));
  // For shims: is this gateway there? Costs no Vault call and leaves no record.
  app.get(livezPath, (_request, reply) => {
    if (!isDraining) return reply.send("ok\n");
    return reply
      .code(503)
      .headers({ [headers.reason]: "gateway_draining", connection: "close" })
      .send("draining\n");
  });

  return {
    connections: connections.count,
    async listen(host, port) {
      await app.listen({ host, port });
      const address = app.server.address();
      return typeof address === "object" && address !== null ? address.port : port;
    },
    setTls(next) {
      const parsed = splitPem(next.clientCa);
      app.server.setSecureContext(listenerTls(next, parsed));
      const isOther = next.clientCa !== files.clientCa;
      [files, authorities, anchoredUntil] = [next, parsed, anchorsUntil(parsed)];
      if (isOther) connections.trust(parsed);
    },
    async close() {
      isDraining = true;
      connections.closeIdle();
      await app.close();
      handshakes.close();
      turns.close();
    },
  };
}
