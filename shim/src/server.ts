// gRPC on the unix socket: bounded in calls, sizes and time. The only file that imports grpc-js.
// (docs/architecture.md #shim; docs/kms-contract.md section 1.6.)
import type { ServerHttp2Stream } from "node:http2";
import type { Server } from "node:net";
import { setImmediate as nextTurn, setTimeout as wait } from "node:timers/promises";
import {
  type sendUnaryData,
  Server as GrpcServer,
  ServerCredentials,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  type ServerUnaryCall,
  type status,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { connectCodes, KmsError, rowOf, toKmsError } from "@claviger/proto/wire/errors.ts";
import { RequestScope } from "@claviger/proto/runtime/request-scope.ts";
import { zeroize } from "@claviger/proto/runtime/secret.ts";
import { noTracing, type Tracing } from "@claviger/proto/runtime/tracing.ts";
import { headers, methods } from "@claviger/proto/wire/protocol.ts";
import { createConnections } from "./connections.ts";
import { createFailureLog } from "./failure-log.ts";
import type { KmsMethod, KmsMethods } from "./kms.ts";
import { steadyNow } from "@claviger/proto/runtime/clock.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import type { Metrics } from "./metrics.ts";

export type KmsSocketServer = {
  /** Listens where the caller says; owned by it. */
  readonly socketServer: Server;
  /** Lets calls under way finish, then closes every connection. */
  drain(graceMs: number): Promise<void>;
};

/**
 * Answer this long before the caller gives up, or all it ever sees is its own deadline: 200 ms, or a
 * fifth of a short deadline. (docs/kms-contract.md section 3.4.)
 */
const answerEarlyMs = 200;
const answerEarlyShare = 0.2;
const defaultCallMs = 3000;
const longestCallMs = 30_000;
/**
 * A connection without a call for this long is closed, politely: KMS v2 asks for Status each
 * minute, KMS v1 connects again.
 */
const idleMs = 600_000;
/**
 * What was sent before the caller could know that we stop is read for this long, and served: on a busy
 * node either side may get no time for a while.
 */
const drainReadMs = 500;
/** More than any message that is answered properly, far less than would hurt. */
const receiveBytes = 2 * 1024 * 1024;

function same(bytes: Buffer): Buffer {
  return bytes;
}

/**
 * Zeroizes a response and the frame that grpc-js has copied it into, once they are written or the
 * caller has reset the stream: then they never are. A version that frames otherwise is not found out
 * and merely leaves its copy.
 */
function zeroizeWritten(call: ServerInterceptingCallInterface): ServerInterceptingCall {
  const frames: Uint8Array[] = [];
  let isCancelled = false;
  const onCancel = (): void => {
    isCancelled = true;
    frames.forEach(zeroize);
  };
  const wrapped = new ServerInterceptingCall(call, { start: (next) => next({ onCancel }) });
  const send = wrapped.sendMessage.bind(wrapped);
  wrapped.sendMessage = (message: Buffer, written) => {
    frames.push(message);
    if (isCancelled) zeroize(message);
    const copy = message.copy.bind(message);
    message.copy = (target, ...where) => {
      frames.push(target);
      return copy(target, ...where);
    };
    send(message, () => {
      frames.forEach(zeroize);
      written();
    });
  };
  return wrapped;
}

/**
 * Has a call's deadline told by the steady clock. grpc-js adds the time that the caller gives to the wall
 * clock, when the headers come: a clock that is set before the message is read would make it none.
 */
function withSteadyDeadline(call: ServerInterceptingCall): ServerInterceptingCall {
  const steady = Number(call.getDeadline()) - Date.now() + steadyNow();
  call.getDeadline = () => steady;
  return call;
}

const interceptor: ServerInterceptor = (_, call) => withSteadyDeadline(zeroizeWritten(call));

/**
 * Has grpc-js leave alone a stream that its caller has reset by the time that its headers are handed on. It
 * would answer one with a method or a content type that it does not know, and Node.js throws at an answer to a
 * stream that is closed: an exception in an event, which ends the process. grpc-js has no option for that.
 */
function leaveClosedStreams(grpc: GrpcServer): void {
  type Serve = (interceptors: readonly ServerInterceptor[], stream: ServerHttp2Stream, given: object) => void;
  const serve = grpc["_streamHandler"] as Serve;
  const serveOpen: Serve = (interceptors, stream, given) => {
    if (stream.closed || stream.destroyed) stream.on("error", () => {});
    else Reflect.apply(serve, grpc, [interceptors, stream, given]);
  };
  Object.assign(grpc, { _streamHandler: serveOpen });
}

/**
 * Streams of one connection at a time. Further calls wait at the caller, where they cost this process
 * nothing: a stream costs 11 KiB, and four batches of 64 are all that is under way to the gateways.
 */
const maxStreams = 256;
/** Streams that a caller may reset at once, and each second, and open too early in a session's life. */
const manyStreams = 1_000_000;

export function createKmsSocketServer({
  kms,
  metrics,
  tracing = noTracing,
  log,
  maxCalls,
  maxConnections,
}: {
  readonly kms: KmsMethods;
  readonly metrics: Metrics;
  readonly tracing?: Tracing;
  readonly log: Log;
  readonly maxCalls: number;
  readonly maxConnections: number;
}): KmsSocketServer {
  const grpc = new GrpcServer({
    "grpc.max_receive_message_length": receiveBytes,
    "grpc.max_concurrent_streams": Math.min(maxCalls, maxStreams),
    "grpc-node.max_session_memory": 32,
    "grpc.max_connection_idle_ms": idleMs,
    "grpc.keepalive_time_ms": idleMs,
    "grpc.keepalive_timeout_ms": 20_000,
    // Bookkeeping that nobody could ask for here.
    "grpc.enable_channelz": 0,
    interceptors: [interceptor],
  });
  // Node.js ends a session whose peer resets more than 1,000 streams and 33 a second from then on: a
  // measure against strangers, that would take a kube-apiserver its connection in an outage, when
  // thousands of calls reach their deadlines. The calls that waited for those streams at the caller come
  // before Node.js has let go of them; it resets what is over the bound (RESOURCE_EXHAUSTED), and ends a
  // session for the hundredth of them in its life. Here `maxCalls` bounds what either can cost. grpc-js
  // has no option for them.
  Object.assign(grpc["commonServerOptions"], {
    streamResetBurst: manyStreams,
    streamResetRate: manyStreams,
    maxSessionRejectedStreams: manyStreams,
  });
  leaveClosedStreams(grpc);
  let inFlight = 0;

  const logFailure = createFailureLog(log);

  /** Milliseconds that a call may take. */
  const timeoutOf = (call: ServerUnaryCall<Buffer, Buffer>): number => {
    // By the steady clock: see withSteadyDeadline.
    const until = Number(call.getDeadline());
    const left = Math.min(Number.isFinite(until) ? until - steadyNow() : defaultCallMs, longestCallMs);
    return left - Math.min(answerEarlyMs, left * answerEarlyShare);
  };

  const answer = async (
    name: keyof KmsMethods,
    method: KmsMethod,
    call: ServerUnaryCall<Buffer, Buffer>,
    callback: sendUnaryData<Buffer>,
  ): Promise<void> => {
    const scope = new RequestScope(timeoutOf(call));
    scope.zeroizeLater(call.request);
    let result = "ok";
    call.once("cancelled", () => scope.cancel());
    inFlight += 1;
    metrics.started();
    try {
      if (inFlight > maxCalls) throw new KmsError("overloaded");
      const [parent] = call.metadata.get(headers.traceparent);
      const rpc = { system: "grpc", method: methods[name].slice(1) } as const;
      const options = { kind: "server", parent: parent?.toString(), rpc } as const;
      // Whole milliseconds: what a header carries and a timer takes.
      const deadline = Math.floor(steadyNow() + scope.leftMs);
      const bytes = await tracing.span(rpc.method, options, () => method(call.request, deadline, scope.signal));
      callback(null, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    } catch (thrown) {
      const error = toKmsError(thrown);
      const { connect } = rowOf(error.reason);
      result = error.reason;
      logFailure(name, error);
      callback({ code: connectCodes[connect].grpc as status, details: error.message });
    } finally {
      inFlight -= 1;
      scope.dispose();
      metrics.finished(name, result, scope.elapsedMs);
    }
  };

  for (const name of Object.keys(kms) as readonly (keyof KmsMethods)[]) {
    const method = methods[name].split("/").at(-1) ?? "";
    const definition = {
      path: methods[name],
      requestStream: false,
      responseStream: false,
      requestSerialize: same,
      requestDeserialize: same,
      responseSerialize: same,
      responseDeserialize: same,
    } as const;
    const implementation: UntypedServiceImplementation = {
      [method]: (call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) =>
        void answer(name, kms[name], call, callback),
    };
    grpc.addService({ [method]: definition }, implementation);
  }

  const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure());
  const connections = createConnections({
    maxConnections,
    log,
    serve: (socket) => injector.injectConnection(socket),
  });

  const { socketServer } = connections;
  return {
    socketServer,
    async drain(graceMs) {
      const closed = new Promise<void>((resolve) => socketServer.close(() => resolve()));
      // In two steps: callers hear of it, what they had sent by then is served, and only then is a
      // session without an open call closed. The second wait is a turn in which sockets are read,
      // for a process that got no time in the first.
      connections.sayGoAway();
      await wait(drainReadMs);
      await nextTurn();
      connections.endUnproven();
      // Tells each connection to make no more calls. It calls back before calls under way are done
      // (Node 24 closes the sessions with the server, and grpc-js takes a session that is closing
      // for closed); the end of the last connection is what counts.
      grpc.tryShutdown(() => {});
      const timer = setTimeout(() => {
        grpc.forceShutdown();
        connections.endAll();
      }, graceMs);
      await closed;
      clearTimeout(timer);
    },
  };
}
