// gRPC on the unix socket. Whoever connects is kube-apiserver or a local nuisance: bounded in connections, calls, sizes and time. The door to grpc-js.
// (Design section 11; contract section 1.6.)
import { createServer, type Server, type Socket } from "node:net";
import {
  type sendUnaryData,
  Server as GrpcServer,
  ServerCredentials,
  type ServerUnaryCall,
  type status,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { connectCodes, KmsError, rowOf, toKmsError } from "@claviger/proto/errors.ts";
import { wipe } from "@claviger/proto/secret.ts";
import { methods } from "@claviger/proto/wire.ts";
import type { KmsMethod, KmsMethods } from "./kms.ts";
import type { Log } from "@claviger/proto/log.ts";
import type { Metrics } from "./metrics.ts";

export type KmsServer = {
  /** Listens where the caller says; owned by it. */
  readonly socketServer: Server;
  /** Lets calls under way finish, then closes every connection. */
  drain(graceMs: number): Promise<void>;
};

/** Answer this long before the caller gives up, or all it ever sees is its own deadline. (Contract section 3.4.) */
const answerEarlyMs = 200;
const defaultCallMs = 3000;
const longestCallMs = 30_000;
/** kube-apiserver sends the HTTP/2 preface at once; whoever has not after this long is not one. */
const prefaceMs = 10_000;
const prefaceBytes = 24;
/** More than any message that is answered properly, far less than would hurt. */
const receiveBytes = 2 * 1024 * 1024;

const same = (bytes: Buffer): Buffer => bytes;

export const createKmsServer = ({
  kms,
  metrics,
  log,
  maxCalls,
  maxConnections,
}: {
  readonly kms: KmsMethods;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly maxCalls: number;
  readonly maxConnections: number;
}): KmsServer => {
  const grpc = new GrpcServer({
    "grpc.max_receive_message_length": receiveBytes,
    "grpc.max_concurrent_streams": maxCalls,
    "grpc-node.max_session_memory": 32,
  });
  let inFlight = 0;

  const deadlineOf = (call: ServerUnaryCall<Buffer, Buffer>): number => {
    const given = call.getDeadline();
    const until = given instanceof Date ? given.getTime() : given;
    return Math.min(Number.isFinite(until) ? until : Date.now() + defaultCallMs, Date.now() + longestCallMs) - answerEarlyMs;
  };

  const answer = async (
    name: string,
    method: KmsMethod,
    call: ServerUnaryCall<Buffer, Buffer>,
    callback: sendUnaryData<Buffer>,
  ): Promise<void> => {
    const began = performance.now();
    let result = "ok";
    inFlight += 1;
    metrics.started();
    try {
      if (inFlight > maxCalls) throw new KmsError("overloaded");
      const bytes = await method(call.request, deadlineOf(call));
      const response = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      callback(null, response);
      // grpc-js frames a copy of the message in the same turn as it is handed over; by the next one ours has done its work.
      setImmediate(wipe, response);
    } catch (thrown) {
      const error = toKmsError(thrown);
      const { connect, kind } = rowOf(error.reason);
      result = error.reason;
      if (error.reason === "internal")
        log.error({ event: "internal-error", method: name, err: error }, "a call failed in a way that nobody foresaw");
      else log[kind === "caller" ? "debug" : "warn"]({ event: "call-failed", method: name, err: error }, "a call failed");
      callback({ code: connectCodes[connect].grpc as status, details: error.message });
    } finally {
      inFlight -= 1;
      wipe(call.request);
      metrics.finished(name, result, performance.now() - began);
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
      [method]: (call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) => void answer(name, kms[name], call, callback),
    };
    grpc.addService({ [method]: definition }, implementation);
  }

  const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure());
  const sockets = new Set<Socket>();

  // Only what begins like HTTP/2 reaches it; half a preface costs a file descriptor for ten seconds.
  const admit = (socket: Socket): void => {
    const timer = setTimeout(() => socket.destroy(), prefaceMs);
    const onReadable = (): void => {
      if (socket.readableLength < prefaceBytes) return;
      clearTimeout(timer);
      socket.off("readable", onReadable);
      injector.injectConnection(socket);
    };
    socket.on("readable", onReadable);
    socket.once("close", () => clearTimeout(timer));
  };

  const socketServer = createServer({ pauseOnConnect: false }, (socket) => {
    socket.on("error", () => {});
    if (sockets.size >= maxConnections) {
      log.warn({ event: "connection-refused", connections: sockets.size }, "too many connections to the socket");
      socket.destroy();
      return;
    }
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    admit(socket);
  });

  return {
    socketServer,
    async drain(graceMs) {
      const closed = new Promise<void>((resolve) => socketServer.close(() => resolve()));
      injector.drain(graceMs);
      const shut = new Promise<void>((resolve) => {
        grpc.tryShutdown(() => resolve());
      });
      const timer = setTimeout(() => {
        grpc.forceShutdown();
        for (const socket of sockets) socket.destroy();
      }, graceMs);
      await shut;
      clearTimeout(timer);
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
};
