// A KMS v2 client on a shim's socket, as kube-apiserver is one: gRPC with `localhost` as authority.
// The tests' only import of grpc-js.
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import * as v2 from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { methods } from "@claviger/proto/wire/protocol.ts";
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";

export type KmsClient = {
  status(timeoutMs?: number): Promise<v2.StatusResponse>;
  encrypt(plaintext: Uint8Array, timeoutMs?: number): Promise<v2.EncryptResponse>;
  decrypt(sealed: { readonly ciphertext: Uint8Array; readonly keyId: string }, timeoutMs?: number): Promise<Buffer>;
  close(): void;
};

/**
 * Calls reject with grpc-js' ServiceError: `code` and `details`.
 * @param headers sent with every call
 */
export function kmsClient(socket: string, headers: Readonly<Record<string, string>> = {}): KmsClient {
  const client = new Client(`unix:${socket}`, credentials.createInsecure(), { "grpc.default_authority": "localhost" });
  const metadata = new Metadata({ waitForReady: true });
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  const call = <I extends DescMessage, O extends DescMessage>(
    path: string,
    input: I,
    output: O,
    message: MessageInitShape<I>,
    timeoutMs: number,
  ): Promise<MessageShape<O>> =>
    new Promise((resolve, reject) => {
      client.makeUnaryRequest<Buffer, MessageShape<O>>(
        path,
        (bytes) => bytes,
        (bytes) => fromBinary(output, bytes),
        Buffer.from(toBinary(input, create(input, message))),
        metadata,
        { deadline: Date.now() + timeoutMs },
        (error: ServiceError | null, value) => {
          if (error !== null) reject(error);
          else if (value !== undefined) resolve(value);
        },
      );
    });
  return {
    status: (timeoutMs = 3000) => call(methods.status, v2.StatusRequestSchema, v2.StatusResponseSchema, {}, timeoutMs),
    encrypt: (plaintext, timeoutMs = 3000) =>
      call(methods.encrypt, v2.EncryptRequestSchema, v2.EncryptResponseSchema, { plaintext, uid: "test" }, timeoutMs),
    decrypt: async ({ ciphertext, keyId }, timeoutMs = 3000) =>
      Buffer.from(
        (
          await call(
            methods.decrypt,
            v2.DecryptRequestSchema,
            v2.DecryptResponseSchema,
            { ciphertext, keyId, uid: "test" },
            timeoutMs,
          )
        ).plaintext,
      ),
    close: () => client.close(),
  };
}
