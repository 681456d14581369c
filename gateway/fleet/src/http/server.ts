// The listener of the fleet service: TLS, with a client certificate where the caller has one, and Connect on
// it. The only file that imports fastify and connect. (docs/architecture.md #control-plane.)
import type { Server } from "node:https";
import type { TLSSocket } from "node:tls";
import { Code, ConnectError, createContextKey, createContextValues, type HandlerContext } from "@connectrpc/connect";
import {
  createAsyncIterable,
  type UniversalHandler,
  type UniversalServerRequest,
  type UniversalServerResponse,
} from "@connectrpc/connect/protocol";
import { fastifyConnectPlugin } from "@connectrpc/connect-fastify";
import { fastify, type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { ApprovalNeededSchema, FleetService } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import { splitPem } from "@claviger/proto/runtime/certificates.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import type { AuditLog } from "@claviger/gateway-core/src/audit/log.ts";
import { listenerTls } from "@claviger/gateway-core/src/pki/trust.ts";
import type { TlsFiles } from "@claviger/gateway-core/src/tls-files.ts";
import type { Callers, Shown } from "../caller.ts";
import { bareHeaders, reportPath } from "../pages/headers.ts";
import { reportTypes } from "../pages/reports.ts";
import { logoutPath, type Site } from "../pages/site.ts";
import { type Code as RefusalCode, type Refusal, toRefusal } from "../refusal.ts";
import { entryOf } from "./replies.ts";
import type { FleetMethods, FleetStreams, MethodName, StreamName, UnaryName } from "../method.ts";
import type { Rates } from "../rates.ts";
import { shownOf } from "./shown.ts";
import { createStreamCalls } from "./stream-calls.ts";
import { createUnaryCalls } from "./unary-calls.ts";

export type FleetServer = {
  /** Resolves with the port. @throws the system's error, e.g. EADDRINUSE */
  listen(address: string, port: number): Promise<number>;
  /** Takes new TLS files for new connections. */
  setTls(files: TlsFiles): void;
  close(): Promise<void>;
};

const codes: Readonly<Record<RefusalCode, Code>> = {
  invalid_argument: Code.InvalidArgument,
  not_found: Code.NotFound,
  permission_denied: Code.PermissionDenied,
  unauthenticated: Code.Unauthenticated,
  already_exists: Code.AlreadyExists,
  failed_precondition: Code.FailedPrecondition,
  aborted: Code.Aborted,
  resource_exhausted: Code.ResourceExhausted,
  unavailable: Code.Unavailable,
  internal: Code.Internal,
};

/** More than any request here. */
const bodyBytes = 65_536;
/** What a browser reports at once. */
const reportBytes = 16_384;
const handshakeMs = 5000;
const requestMs = 20_000;
const idleMs = 60_000;
const maxConnections = 5000;

const socketKey = createContextKey<TLSSocket | undefined>(undefined);
/** Has a method of ours been called? */
const calledKey = createContextKey({ isCalled: false });

/** Leaves a record of a request that no method was called for. */
type RecordUnread = (method: string, at: number, peer: string | undefined) => Promise<void>;

/**
 * Answers a body that cannot be read as a fault of its caller. Connect calls it an internal error where protobuf
 * or a compressed body does not parse, before any method is called.
 */
function answerUnread(handle: UniversalHandler, record: RecordUnread): UniversalHandler {
  const message = "the body is not a message of this method";
  const body = Buffer.from(JSON.stringify({ code: "invalid_argument", message }));
  const header = { "content-type": "application/json", "content-length": String(body.length) };
  const answer = async (request: UniversalServerRequest): Promise<UniversalServerResponse> => {
    const at = Date.now();
    const reply = await handle(request);
    const { contextValues: values } = request;
    // A stream is called as its reply is read.
    if (handle.method.methodKind !== "unary" || values?.get(calledKey).isCalled === true) return reply;
    await record(handle.method.localName, at, values?.get(socketKey)?.remoteAddress);
    if (reply.status !== 500) return reply;
    return { status: 400, header: new Headers(header), body: createAsyncIterable([body]) };
  };
  return Object.assign(answer, handle);
}

/** What a refusal is in Connect. */
function connectError({ message, code, approval }: Refusal): ConnectError {
  const details = approval && [
    {
      desc: ApprovalNeededSchema,
      value: { id: approval.id, expiresAt: { seconds: BigInt(approval.expiresAt), nanos: 0 } },
    },
  ];
  return new ConnectError(message, codes[code], undefined, details);
}

function shownIn(headers: Headers): Shown {
  return shownOf((name) => headers.get(name) ?? undefined);
}

/** A header that stands once. */
function headerIn({ headers }: FastifyRequest, name: string): string | undefined {
  const value = headers[name];
  return typeof value === "string" ? value : undefined;
}

export function createFleetServer({
  tls,
  callerOf,
  methods,
  streams,
  rates,
  audit,
  site,
  onCall = () => {},
  log,
}: {
  readonly tls: TlsFiles;
  readonly callerOf: Callers;
  readonly methods: FleetMethods;
  readonly streams: FleetStreams;
  readonly rates: Rates;
  readonly audit: AuditLog;
  /** The console; absent where it is not served. */
  readonly site?: Site | undefined;
  /** Hears of each call how it ended: `ok`, or the code of its refusal. */
  readonly onCall?: (method: MethodName, result: string) => void;
  readonly log: Log;
}): FleetServer {
  const app: FastifyInstance<Server> = fastify({
    https: {
      ...listenerTls(tls, splitPem(tls.clientCa)),
      requestCert: true,
      // A node that enrolls has none yet; `callerOf` judges those that there are.
      rejectUnauthorized: false,
      handshakeTimeout: handshakeMs,
      headersTimeout: handshakeMs,
      connectionsCheckingInterval: 1000,
    },
    logger: false,
    bodyLimit: bodyBytes,
    requestTimeout: requestMs,
    keepAliveTimeout: idleMs,
    forceCloseConnections: "idle",
  });
  app.server.maxConnections = maxConnections;

  const unaryCalls = createUnaryCalls({ callerOf, methods, rates, audit, onCall, log });
  const unary =
    <M extends UnaryName>(name: M) =>
    async (request: Parameters<FleetMethods[M]>[0], { values, requestHeader }: HandlerContext) => {
      values.get(calledKey).isCalled = true;
      try {
        return await unaryCalls.run(name, request, { socket: values.get(socketKey), shown: shownIn(requestHeader) });
      } catch (error) {
        throw connectError(toRefusal(error));
      }
    };

  const streamCalls = createStreamCalls({ callerOf, streams, rates, audit, onCall, log });
  const recordUnread: RecordUnread = async (method, at, peer) => {
    const refusal = { code: "invalid_argument", message: "the request is none that this method can read" } as const;
    // Nothing was done: a sink that fails refuses nothing here.
    await audit.record(entryOf({ at, method, peer, refusal })).catch(() => undefined);
    onCall(method as MethodName, refusal.code);
  };
  const stream = (name: StreamName) =>
    async function* (
      request: Parameters<FleetStreams[StreamName]>[0],
      { values, requestHeader, signal }: HandlerContext,
    ) {
      const shown = shownIn(requestHeader);
      try {
        yield* streamCalls.run(name, request, { socket: values.get(socketKey), shown, signal });
      } catch (error) {
        throw connectError(toRefusal(error));
      }
    };

  app.addHook("onRequest", (_request, reply, done) => {
    for (const [name, value] of Object.entries(bareHeaders)) reply.raw.setHeader(name, value);
    done();
  });
  const answerPage = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const { status, headers, body } = await (site as Site).answer({
      method: request.method,
      target: request.url,
      shown: shownOf((name) => headerIn(request, name)),
      acceptEncoding: headerIn(request, "accept-encoding") ?? "",
      ifNoneMatch: headerIn(request, "if-none-match") ?? "",
      body: Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0),
      peer: request.raw.socket.remoteAddress,
    });
    return reply.code(status).headers(headers).send(body);
  };
  if (site !== undefined)
    void app.register((pages, _options, done) => {
      pages.addContentTypeParser(
        [...reportTypes],
        { parseAs: "buffer", bodyLimit: reportBytes },
        (_request, body, parsed) => parsed(null, body),
      );
      pages.get("/*", (request, reply) => answerPage(request, reply));
      pages.post(reportPath, (request, reply) => answerPage(request, reply));
      pages.post(logoutPath, (request, reply) => answerPage(request, reply));
      done();
    });

  const plugin = app.register(fastifyConnectPlugin, {
    contextValues: (request) =>
      createContextValues()
        .set(socketKey, request.raw.socket as TLSSocket)
        .set(calledKey, { isCalled: false }),
    readMaxBytes: bodyBytes,
    grpc: false,
    grpcWeb: false,
    routes: (router) => {
      const once = (Object.keys(methods) as readonly UnaryName[]).map((name) => [name, unary(name)] as const);
      const lasting = (Object.keys(streams) as readonly StreamName[]).map((name) => [name, stream(name)] as const);
      router.service(FleetService, Object.fromEntries<unknown>([...once, ...lasting]));
      for (const [at, handle] of router.handlers.entries()) router.handlers[at] = answerUnread(handle, recordUnread);
    },
  });

  return {
    async listen(address, port) {
      await plugin;
      await app.listen({ host: address, port });
      const bound = app.server.address();
      return typeof bound === "object" && bound !== null ? bound.port : port;
    },
    setTls(files) {
      app.server.setSecureContext(listenerTls(files, splitPem(files.clientCa)));
    },
    async close() {
      streamCalls.close();
      await app.close();
    },
  };
}
