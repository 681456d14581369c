// A KMS v2 client that calls as kube-apiserver does: gRPC on a unix socket, authority `localhost`,
// a deadline on each call, no retry. The only file that imports @grpc/grpc-js.
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  DecryptRequestSchema,
  type DecryptResponse,
  DecryptResponseSchema,
  EncryptRequestSchema,
  type EncryptResponse,
  EncryptResponseSchema,
  StatusRequestSchema,
  type StatusResponse,
  StatusResponseSchema,
} from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { methods } from "@claviger/proto/wire/protocol.ts";
import { Client, credentials, status } from "@grpc/grpc-js";

/** A gRPC status other than OK. `text` is what the far side said. */
export class GrpcError extends Error {
  override readonly name = "GrpcError";
  readonly code: string;
  readonly text: string;

  constructor({ code, details }: { readonly code: number; readonly details: string }) {
    super(`${status[code] ?? `code ${code}`}: ${details}`);
    this.code = status[code] ?? `code ${code}`;
    this.text = details;
  }
}

/** Calls of one provider. Each rejects with GrpcError and with nothing else. */
export type KmsClient = {
  status(): Promise<StatusResponse>;
  encrypt(request: MessageInitShape<typeof EncryptRequestSchema>): Promise<EncryptResponse>;
  decrypt(request: MessageInitShape<typeof DecryptRequestSchema>): Promise<DecryptResponse>;
  close(): void;
};

/** @param timeoutMs of each call; 3 s is kube-apiserver's default */
export function createKmsClient({
  socket,
  timeoutMs = 3000,
}: {
  readonly socket: string;
  readonly timeoutMs?: number;
}): KmsClient {
  const client = new Client(`unix:${socket}`, credentials.createInsecure(), {
    "grpc.default_authority": "localhost",
    "grpc.enable_retries": 0,
    "grpc.use_local_subchannel_pool": 1,
  });
  const call = <I extends DescMessage, O extends DescMessage>(
    path: string,
    input: I,
    output: O,
    message: MessageInitShape<I>,
  ): Promise<MessageShape<O>> =>
    new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        path,
        (request: MessageShape<I>) => Buffer.from(toBinary(input, request)),
        (bytes: Buffer) => fromBinary(output, bytes),
        create(input, message),
        { deadline: Date.now() + timeoutMs },
        (error, response) => {
          if (error !== null) reject(new GrpcError(error));
          else if (response !== undefined) resolve(response);
        },
      );
    });
  return {
    status: () => call(methods.status, StatusRequestSchema, StatusResponseSchema, {}),
    encrypt: (request) => call(methods.encrypt, EncryptRequestSchema, EncryptResponseSchema, request),
    decrypt: (request) => call(methods.decrypt, DecryptRequestSchema, DecryptResponseSchema, request),
    close: () => client.close(),
  };
}
