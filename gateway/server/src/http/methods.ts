// What each KMS method does between its request's bytes and its reply's: decode, serve, encode.
// (docs/architecture.md #wire.)
import { createHash } from "node:crypto";
import { create, type DescMessage, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { steadyNow } from "@claviger/proto/runtime/clock.ts";
import type { RequestScope } from "@claviger/proto/runtime/request-scope.ts";
import { KmsError, type Reason, toKmsError } from "@claviger/proto/wire/errors.ts";
import { walkFields } from "@claviger/proto/wire/fields.ts";
import * as v1 from "@claviger/proto/gen/k8s/kms_v1beta1_pb.ts";
import * as v2 from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { headers, kmsVersion, kmsVersionV1, limits, type Method } from "@claviger/proto/wire/protocol.ts";
import type { Operation } from "../kms/admission.ts";
import type { Call, CallFields } from "../kms/call.ts";
import type { KmsService } from "../kms/service.ts";
import { decodeMessage, encodeFields, encodeMessage, type Encoding } from "./connect.ts";

/** What becomes of one call of a request. */
export type CallRecord = CallFields & { reason?: Reason };

/** An admitted request, as the handler hands it to a method. */
export type MethodContext = {
  readonly scope: RequestScope;
  /** A call of this request, with an audit entry of its own. */
  readonly newCall: () => Call & { readonly fields: CallRecord };
  /** Counts further calls against the cluster's rate. @throws KmsError overloaded */
  readonly charge: (calls: number) => void;
};

/** Message bytes, the scope's to zeroize, and headers of their own. */
export type MethodReply = { readonly body: Buffer; readonly headers?: Readonly<Record<string, string>> };

export type KmsMethod = {
  readonly operation: Operation;
  /** The largest body in bytes. */
  readonly bodyBytes: number;
  /** @throws KmsError */
  run(context: MethodContext, body: Uint8Array, encoding: Encoding): Promise<MethodReply>;
};

function malformed(why: string): KmsError {
  return new KmsError("request_malformed", { cause: new Error(why) });
}

function assertSize(what: string, bytes: Uint8Array, max: number): void {
  if (bytes.length < 1 || bytes.length > max)
    throw malformed(`${what} of ${bytes.length} bytes, 1 to ${max} are allowed`);
}

// A caller of v1 names its version; kube-apiserver always says v1beta1.
function assertV1(version: string): void {
  if (version !== kmsVersionV1) throw malformed("a KMS v1 version other than v1beta1");
}

// kube-apiserver's are 36 characters long; anybody else's may be anything.
function setUid({ fields }: Call, uid: string): void {
  if (uid !== "") fields.uid = uid.slice(0, limits.uid);
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function plainMessage<D extends DescMessage>(
  schema: D,
  encoding: Encoding,
  message: MessageShape<D>,
  scope: RequestScope,
): MethodReply {
  return { body: scope.zeroizeLater(encodeMessage(schema, encoding, message)) };
}

/** The items of a batch as views of its bytes. The message is looked at, never decoded as a whole. */
function itemsOf(body: Uint8Array, encoding: Encoding): readonly Uint8Array[] {
  if (encoding !== "proto") throw malformed("a batch that is not application/proto");
  const items: Uint8Array[] = [];
  walkFields(body, limits.batchItems, (number, value) => {
    if (number === 1) items.push(value);
  });
  if (items.length < 1) throw malformed("a batch without a request");
  return items;
}

function batchResult(response: Uint8Array): Buffer {
  return encodeFields([[1, response]]);
}
function batchFailure(reason: Reason): Buffer {
  return encodeFields([[2, Buffer.from(reason)]]);
}
function batchReply(results: readonly Uint8Array[]): Buffer {
  return encodeFields(results.map((result) => [1, result] as const));
}

/** Every method. @param version of this gateway, for KMS v1's runtime_version */
export function createMethods(service: KmsService, version: string): Readonly<Record<Method, KmsMethod>> {
  const decrypt = async (
    { newCall, scope }: MethodContext,
    bytes: Uint8Array,
    encoding: Encoding,
  ): Promise<Uint8Array> => {
    const call = newCall();
    try {
      const { uid, ciphertext, keyId, annotations } = decodeMessage(v2.DecryptRequestSchema, encoding, bytes);
      setUid(call, uid);
      assertSize("ciphertext", ciphertext, limits.ciphertext);
      call.fields.ciphertextSha256 = sha256(ciphertext);
      if (keyId === "" || Buffer.byteLength(keyId) > limits.keyId)
        throw malformed("a key_id of a size that Kubernetes does not take");
      if (Object.keys(annotations).length > 0)
        throw new KmsError("ciphertext_invalid", { cause: new Error("annotations, which Encrypt never returns") });
      return scope.zeroizeLater(await service.decrypt(call, ciphertext, keyId));
    } catch (thrown) {
      call.fields.reason = toKmsError(thrown).reason;
      throw thrown;
    }
  };

  const decryptItem = async (context: MethodContext, bytes: Uint8Array): Promise<Buffer> => {
    try {
      const plaintext = await decrypt(context, bytes, "proto");
      const response = context.scope.zeroizeLater(encodeFields([[1, plaintext]]));
      return context.scope.zeroizeLater(batchResult(response));
    } catch (thrown) {
      return batchFailure(toKmsError(thrown).reason);
    }
  };

  return {
    status: {
      operation: "status",
      bodyBytes: limits.message,
      async run({ newCall, scope }, body, encoding) {
        decodeMessage(v2.StatusRequestSchema, encoding, body);
        const { healthz, keyId, staleSince } = await service.status(newCall());
        const message = create(v2.StatusResponseSchema, { version: kmsVersion, healthz, keyId });
        const reply = plainMessage(v2.StatusResponseSchema, encoding, message, scope);
        if (staleSince === undefined) return reply;
        const age = Math.max(0, steadyNow() - staleSince);
        return { ...reply, headers: { [headers.staleSince]: String(staleSince), [headers.staleFor]: String(age) } };
      },
    },

    encrypt: {
      operation: "encrypt",
      bodyBytes: limits.message,
      async run({ newCall, scope }, body, encoding) {
        const { uid, plaintext } = decodeMessage(v2.EncryptRequestSchema, encoding, body);
        const call = newCall();
        setUid(call, uid);
        const { ciphertext, keyId } = await service.encrypt(call, scope.zeroizeLater(plaintext));
        call.fields.ciphertextSha256 = sha256(ciphertext);
        const message = create(v2.EncryptResponseSchema, { ciphertext, keyId });
        return plainMessage(v2.EncryptResponseSchema, encoding, message, scope);
      },
    },

    decrypt: {
      operation: "decrypt",
      bodyBytes: limits.message,
      async run(context, body, encoding) {
        const plaintext = await decrypt(context, body, encoding);
        if (encoding === "proto") return { body: context.scope.zeroizeLater(encodeFields([[1, plaintext]])) };
        const message = create(v2.DecryptResponseSchema, { plaintext });
        return plainMessage(v2.DecryptResponseSchema, encoding, message, context.scope);
      },
    },

    v1Version: {
      // Says nothing of a key; whoever may decrypt needs it.
      operation: "decrypt",
      bodyBytes: limits.message,
      run({ scope }, body, encoding) {
        assertV1(decodeMessage(v1.VersionRequestSchema, encoding, body).version);
        const message = create(v1.VersionResponseSchema, {
          version: kmsVersionV1,
          runtimeName: "claviger",
          runtimeVersion: version,
        });
        return Promise.resolve(plainMessage(v1.VersionResponseSchema, encoding, message, scope));
      },
    },

    v1Encrypt: {
      operation: "encrypt",
      bodyBytes: limits.message,
      async run({ newCall, scope }, body, encoding) {
        const { version: asked, plain } = decodeMessage(v1.EncryptRequestSchema, encoding, body);
        const call = newCall();
        assertV1(asked);
        const { ciphertext } = await service.encrypt(call, scope.zeroizeLater(plain));
        call.fields.ciphertextSha256 = sha256(ciphertext);
        const message = create(v1.EncryptResponseSchema, { cipher: ciphertext });
        return plainMessage(v1.EncryptResponseSchema, encoding, message, scope);
      },
    },

    v1Decrypt: {
      operation: "decrypt",
      bodyBytes: limits.message,
      async run({ newCall, scope }, body, encoding) {
        const { version: asked, cipher } = decodeMessage(v1.DecryptRequestSchema, encoding, body);
        const call = newCall();
        assertV1(asked);
        assertSize("cipher", cipher, limits.ciphertext);
        call.fields.ciphertextSha256 = sha256(cipher);
        const plain = scope.zeroizeLater(await service.decrypt(call, cipher, undefined));
        if (encoding === "proto") return { body: scope.zeroizeLater(encodeFields([[1, plain]])) };
        return plainMessage(v1.DecryptResponseSchema, encoding, create(v1.DecryptResponseSchema, { plain }), scope);
      },
    },

    // Each item succeeds or fails alone, and has an entry of its own in the audit record.
    decryptBatch: {
      operation: "decrypt",
      bodyBytes: limits.batchMessage,
      async run(context, body, encoding) {
        const items = itemsOf(body, encoding);
        context.charge(items.length - 1);
        const results = await Promise.all(items.map((item) => decryptItem(context, item)));
        return { body: context.scope.zeroizeLater(batchReply(results)) };
      },
    },

    // The same, all of them under one key_id. A message that cannot be read fails all: shims have looked at
    // them, and send halves of a batch that is malformed.
    encryptBatch: {
      operation: "encrypt",
      bodyBytes: limits.batchMessage,
      async run({ newCall, charge, scope }, body, encoding) {
        const messages = itemsOf(body, encoding).map((item) => decodeMessage(v2.EncryptRequestSchema, encoding, item));
        charge(messages.length - 1);
        const items = messages.map(({ uid, plaintext }) => {
          const call = newCall();
          setUid(call, uid);
          return { call, plaintext: scope.zeroizeLater(plaintext) };
        });
        const outcomes = await service.encryptAll(items);
        const results = items.map(({ call: { fields } }, i) => {
          const outcome = outcomes[i];
          if (outcome?.ok === true) {
            fields.ciphertextSha256 = sha256(outcome.value.ciphertext);
            const response = toBinary(v2.EncryptResponseSchema, create(v2.EncryptResponseSchema, outcome.value));
            return batchResult(response);
          }
          fields.reason = outcome?.error.reason ?? "internal";
          return batchFailure(fields.reason);
        });
        return { body: batchReply(results) };
      },
    },
  };
}
