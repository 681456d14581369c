// Unary gRPC over a unix socket on bare node:http2: the kit has to send what no gRPC library would.
// Also the KMS messages on top of it.
import { type ClientHttp2Session, connect as http2Connect, constants, type IncomingHttpHeaders } from "node:http2";
import { connect as netConnect, type Socket } from "node:net";
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import * as v1 from "@claviger/proto/gen/k8s/kms_v1beta1_pb.ts";
import * as v2 from "@claviger/proto/gen/k8s/kms_v2_pb.ts";

/** What came of a call. `code` is the gRPC status, or -1 when the stream ended without one. */
export type Reply = {
  readonly code: number;
  readonly message: string;
  readonly body: Buffer | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly ms: number;
  readonly reset: number;
};

export type CallOptions = {
  readonly authority?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
  /** The whole request body, instead of one frame around the message. */
  readonly raw?: Uint8Array;
  /** Leaves the request open, to be cancelled by the caller. */
  readonly signal?: AbortSignal;
};

/** gRPC status codes by name. */
export const codes = {
  ok: 0,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const;

export function frame(message: Uint8Array, compressed = 0): Buffer {
  const head = Buffer.alloc(5);
  head[0] = compressed;
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

export const paths = {
  status: "/v2.KeyManagementService/Status",
  encrypt: "/v2.KeyManagementService/Encrypt",
  decrypt: "/v2.KeyManagementService/Decrypt",
  v1Version: "/v1beta1.KeyManagementService/Version",
  v1Encrypt: "/v1beta1.KeyManagementService/Encrypt",
  v1Decrypt: "/v1beta1.KeyManagementService/Decrypt",
} as const;

/** One HTTP/2 connection to a plugin. */
export type Connection = {
  readonly session: ClientHttp2Session;
  call(path: string, message: Uint8Array, options?: CallOptions): Promise<Reply>;
  readonly isClosed: () => boolean;
  close(): void;
};

export function connect(socket: string): Promise<Connection> {
  return new Promise((resolve, reject) => {
    let closed = false;
    const session = http2Connect("http://localhost", { createConnection: () => netConnect(socket) });
    session.once("error", reject);
    session.on("error", () => {});
    session.once("close", () => {
      closed = true;
    });
    const call = (path: string, message: Uint8Array, options: CallOptions = {}): Promise<Reply> =>
      new Promise((done) => {
        const began = performance.now();
        const timeoutMs = options.timeoutMs ?? 3000;
        const authority = "authority" in options ? options.authority : "localhost";
        const stream = session.request(
          {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ...(authority !== undefined && { ":authority": authority }),
            "content-type": "application/grpc",
            te: "trailers",
            "user-agent": "grpc-go/1.81.1",
            "grpc-timeout": `${timeoutMs}m`,
            ...options.headers,
          },
          { endStream: false },
        );
        const chunks: Buffer[] = [];
        let headers: IncomingHttpHeaders = {};
        let trailers: IncomingHttpHeaders = {};
        const timer = setTimeout(() => stream.close(constants.NGHTTP2_CANCEL), timeoutMs);
        stream.on("response", (received) => {
          headers = received;
        });
        stream.on("trailers", (received: IncomingHttpHeaders) => {
          trailers = received;
        });
        stream.on("data", (chunk: Buffer) => chunks.push(chunk));
        stream.on("error", () => {});
        options.signal?.addEventListener("abort", () => stream.close(constants.NGHTTP2_CANCEL));
        stream.once("close", () => {
          clearTimeout(timer);
          const status = trailers["grpc-status"] ?? headers["grpc-status"];
          const text = trailers["grpc-message"] ?? headers["grpc-message"];
          const all = Buffer.concat(chunks);
          const isWhole = all.length >= 5 && all.length >= 5 + all.readUInt32BE(1);
          done({
            code: status === undefined ? -1 : Number(status),
            message: decodeURIComponent(String(text ?? "")),
            body: isWhole ? all.subarray(5, 5 + all.readUInt32BE(1)) : undefined,
            headers,
            ms: performance.now() - began,
            reset: stream.rstCode,
          });
        });
        stream.end(options.raw ?? frame(message));
      });
    session.once("connect", () => resolve({ session, call, isClosed: () => closed, close: () => session.destroy() }));
  });
}

/** Encodes, calls, decodes. */
function typed<I extends DescMessage, O extends DescMessage>(path: string, input: I, output: O) {
  return async (
    connection: Connection,
    message: MessageInitShape<I>,
    options?: CallOptions,
  ): Promise<Reply & { readonly value: MessageShape<O> | undefined }> => {
    const reply = await connection.call(path, toBinary(input, create(input, message)), options);
    return {
      ...reply,
      value: reply.code === 0 && reply.body !== undefined ? fromBinary(output, reply.body) : undefined,
    };
  };
}

export const status = typed(paths.status, v2.StatusRequestSchema, v2.StatusResponseSchema);
export const encrypt = typed(paths.encrypt, v2.EncryptRequestSchema, v2.EncryptResponseSchema);
export const decrypt = typed(paths.decrypt, v2.DecryptRequestSchema, v2.DecryptResponseSchema);
export const v1Version = typed(paths.v1Version, v1.VersionRequestSchema, v1.VersionResponseSchema);
export const v1Encrypt = typed(paths.v1Encrypt, v1.EncryptRequestSchema, v1.EncryptResponseSchema);
export const v1Decrypt = typed(paths.v1Decrypt, v1.DecryptRequestSchema, v1.DecryptResponseSchema);

export { v1, v2 };

/** A bare connection: bytes, and no protocol. */
export function rawSocket(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = netConnect(path);
    socket.once("error", reject);
    socket.once("connect", () => resolve(socket));
  });
}
