// A KMS v2 client that calls as kube-apiserver does: gRPC on a unix socket, authority `localhost`,
// a deadline on each call, no retry.
import type { MessageInitShape } from "@bufbuild/protobuf";
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
import { openGrpc } from "./grpc.ts";

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
  const channel = openGrpc({ kind: "socket", path: socket, authority: "localhost" });
  return {
    status: () => channel.call(methods.status, StatusRequestSchema, StatusResponseSchema, {}, timeoutMs),
    encrypt: (request) =>
      channel.call(methods.encrypt, EncryptRequestSchema, EncryptResponseSchema, request, timeoutMs),
    decrypt: (request) =>
      channel.call(methods.decrypt, DecryptRequestSchema, DecryptResponseSchema, request, timeoutMs),
    close: () => channel.close(),
  };
}
