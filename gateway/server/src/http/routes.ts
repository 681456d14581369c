// The KMS services as Connect unary routes: message in, use case, message out. The bytes are wiped
// when the reply has left. (docs/architecture.md #wire.)
import { create, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { KmsError, toKmsError } from "@claviger/proto/wire/errors.ts";
import {
  DecryptBatchRequestSchema,
  DecryptBatchResponseSchema,
  type DecryptResult,
  DecryptResultSchema,
} from "@claviger/proto/gen/claviger/relay_pb.ts";
import * as v1 from "@claviger/proto/gen/k8s/kms_v1beta1_pb.ts";
import * as v2 from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { headers, kmsVersion, kmsVersionV1, limits, type Method } from "@claviger/proto/wire/protocol.ts";
import type { Call } from "../kms/call.ts";
import type { KmsService } from "../kms/service.ts";
import { decodeMessage, encodeFields, encodeMessage, type Encoding, type Field } from "./connect.ts";
import type { Exchange } from "./exchange.ts";

/** A reply: message bytes and headers of its own. */
export type Reply = { readonly body: Buffer; readonly headers?: Readonly<Record<string, string>> };

/**
 * One method: decodes `body`, does the work, encodes. `body` is wiped by the exchange.
 * @throws KmsError
 */
export type Handler = (call: Call, body: Uint8Array, encoding: Encoding, exchange: Exchange) => Promise<Reply>;

/** What a method answers. `secret` are the same message's fields, where it carries key material. */
type Answer<O extends DescMessage> = {
  readonly message: MessageShape<O>;
  readonly secret?: readonly Field[];
  readonly headers?: Record<string, string>;
};

function malformed(why: string): KmsError {
  return new KmsError("request_malformed", { cause: new Error(why) });
}

function assertSize(what: string, bytes: Uint8Array, max: number): void {
  if (bytes.length < 1 || bytes.length > max)
    throw malformed(`${what} of ${bytes.length} bytes, 1 to ${max} are allowed`);
}

function handler<I extends DescMessage, O extends DescMessage>(
  input: I,
  output: O,
  run: (call: Call, message: MessageShape<I>, exchange: Exchange) => Promise<Answer<O>>,
): Handler {
  return async (call, body, encoding, exchange) => {
    const reply = await run(call, decodeMessage(input, encoding, body), exchange);
    if (encoding === "proto" && reply.secret !== undefined) return { body: exchange.own(encodeFields(reply.secret)) };
    return {
      body: exchange.own(encodeMessage(output, encoding, reply.message)),
      ...(reply.headers && { headers: reply.headers }),
    };
  };
}

/** The handler of every method. @param version of this gateway, for KMS v1's runtime_version */
export function createHandlers(service: KmsService, version: string): Readonly<Record<Method, Handler>> {
  const decryptV2 = async (call: Call, request: v2.DecryptRequest, exchange: Exchange): Promise<Uint8Array> => {
    exchange.addCall(request.uid);
    assertSize("ciphertext", request.ciphertext, limits.ciphertext);
    if (request.keyId === "" || Buffer.byteLength(request.keyId) > limits.keyId)
      throw malformed("a key_id of a size that Kubernetes does not take");
    if (Object.keys(request.annotations).length > 0)
      throw new KmsError("ciphertext_invalid", { cause: new Error("annotations, which we never write") });
    exchange.addCiphertext(request.ciphertext);
    return exchange.own(await service.decrypt(call, request.ciphertext, request.keyId));
  };

  return {
    status: handler(v2.StatusRequestSchema, v2.StatusResponseSchema, async (call) => {
      const { healthz, keyId, staleSince } = await service.status(call);
      const message = create(v2.StatusResponseSchema, { version: kmsVersion, healthz, keyId });
      return { message, ...(staleSince !== undefined && { headers: { [headers.staleSince]: String(staleSince) } }) };
    }),

    encrypt: handler(v2.EncryptRequestSchema, v2.EncryptResponseSchema, async (call, request, exchange) => {
      exchange.addCall(request.uid);
      const { ciphertext, keyId } = await service.encrypt(call, exchange.own(request.plaintext));
      exchange.addCiphertext(ciphertext);
      return { message: create(v2.EncryptResponseSchema, { ciphertext, keyId }) };
    }),

    decrypt: handler(v2.DecryptRequestSchema, v2.DecryptResponseSchema, async (call, request, exchange) => {
      const plaintext = await decryptV2(call, request, exchange);
      return { message: create(v2.DecryptResponseSchema, { plaintext }), secret: [[1, plaintext]] };
    }),

    v1Version: handler(v1.VersionRequestSchema, v1.VersionResponseSchema, (_call, request) => {
      assertV1(request.version);
      const message = create(v1.VersionResponseSchema, {
        version: kmsVersionV1,
        runtimeName: "claviger",
        runtimeVersion: version,
      });
      return Promise.resolve({ message });
    }),

    v1Encrypt: handler(v1.EncryptRequestSchema, v1.EncryptResponseSchema, async (call, request, exchange) => {
      exchange.addCall("");
      assertV1(request.version);
      const { ciphertext } = await service.encrypt(call, exchange.own(request.plain));
      exchange.addCiphertext(ciphertext);
      return { message: create(v1.EncryptResponseSchema, { cipher: ciphertext }) };
    }),

    v1Decrypt: handler(v1.DecryptRequestSchema, v1.DecryptResponseSchema, async (call, request, exchange) => {
      exchange.addCall("");
      assertV1(request.version);
      assertSize("cipher", request.cipher, limits.ciphertext);
      exchange.addCiphertext(request.cipher);
      const plain = exchange.own(await service.decrypt(call, request.cipher, undefined));
      return { message: create(v1.DecryptResponseSchema, { plain }), secret: [[1, plain]] };
    }),

    // Items fail alone; the record stands for all of them, its ciphertext hash for the whole batch.
    decryptBatch: handler(
      DecryptBatchRequestSchema,
      DecryptBatchResponseSchema,
      async (call, { requests }, exchange) => {
        if (requests.length < 1 || requests.length > limits.batchItems)
          throw malformed(`a batch of ${requests.length}`);
        const decryptOne = async (bytes: Uint8Array) => {
          try {
            const plaintext = await decryptV2(call, decodeMessage(v2.DecryptRequestSchema, "proto", bytes), exchange);
            const value = exchange.own(encodeFields([[1, plaintext]]));
            return create(DecryptResultSchema, { outcome: { case: "response", value } });
          } catch (thrown) {
            const { reason } = toKmsError(thrown);
            exchange.reason ??= reason;
            return create(DecryptResultSchema, { outcome: { case: "reason", value: reason } });
          }
        };
        const results = await Promise.all(requests.map(decryptOne));
        for (const bytes of requests) exchange.addCiphertext(bytes);
        const fieldOf = ({ outcome }: DecryptResult): Field =>
          outcome.case === "response" ? [1, outcome.value] : [2, Buffer.from(outcome.value ?? "")];
        const secret = results.map((result): Field => [1, exchange.own(encodeFields([fieldOf(result)]))]);
        return { message: create(DecryptBatchResponseSchema, { results }), secret };
      },
    ),
  };
}

// A caller of v1 names its version; kube-apiserver always says v1beta1.
function assertV1(version: string): void {
  if (version !== kmsVersionV1) throw malformed("a KMS v1 version other than v1beta1");
}
