// The KMS methods as bytes in, bytes out: checks what kube-apiserver would choke on, passes the
// very message on. (docs/architecture.md #wire and #shim; docs/kms-contract.md sections 1 and 2.)
import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import * as v1 from "@claviger/proto/gen/k8s/kms_v1beta1_pb.ts";
import * as v2 from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { kmsVersionV1, limits, type Method } from "@claviger/proto/wire/protocol.ts";
import type { Metrics } from "./metrics.ts";
import { createRelay } from "./relay.ts";
import type { StatusKeeper } from "./status.ts";
import type { Upstream } from "./upstream.ts";

/**
 * Serialized request in, serialized response out, both the caller's to zeroize.
 * @param deadline milliseconds of the process' steady clock
 * @param signal the caller went away
 * @throws KmsError
 */
export type KmsMethod = (request: Buffer, deadline: number, signal: AbortSignal) => Promise<Uint8Array>;
export type KmsMethods = Readonly<Record<Exclude<Method, "encryptBatch" | "decryptBatch">, KmsMethod>>;

function malformed(why: string): KmsError {
  return new KmsError("request_malformed", { cause: new Error(why) });
}
function unusable(why: string): KmsError {
  return new KmsError("gateway_unavailable", { cause: new Error(why) });
}

function read<D extends DescMessage>(schema: D, bytes: Uint8Array): MessageShape<D> {
  try {
    return fromBinary(schema, bytes);
  } catch {
    throw malformed(`bytes that are no ${schema.typeName}`);
  }
}

function readReply<D extends DescMessage>(schema: D, bytes: Uint8Array): MessageShape<D> {
  try {
    return fromBinary(schema, bytes);
  } catch {
    throw unusable(`a reply that is no ${schema.typeName}`);
  }
}

function isSize(bytes: Uint8Array, max: number): boolean {
  return bytes.length >= 1 && bytes.length <= max;
}

export function createKmsMethods({
  upstream,
  metrics,
  status,
  version,
}: {
  readonly upstream: Upstream;
  readonly metrics: Metrics;
  readonly status: StatusKeeper;
  /** Of this shim, for KMS v1's runtime_version. */
  readonly version: string;
}): KmsMethods {
  const encrypts = createRelay("encrypt", { upstream, metrics, epochs: status });
  const decrypts = createRelay("decrypt", { upstream, metrics, epochs: status });
  return {
    status: async (request, _deadline, signal) => {
      read(v2.StatusRequestSchema, request);
      return toBinary(v2.StatusResponseSchema, await status.status(signal));
    },

    encrypt: async (request, deadline, signal) => {
      if (!isSize(read(v2.EncryptRequestSchema, request).plaintext, limits.plaintext))
        throw malformed("a plaintext of a size that is not served");
      assertMessageSize(request);
      const { body, epoch } = await encrypts.call(request, deadline, signal);
      const { ciphertext, keyId, annotations } = readReply(v2.EncryptResponseSchema, body);
      // kube-apiserver would store an empty ciphertext under KMS v1, and throw the rest away after
      // a write is lost.
      if (
        !isSize(ciphertext, limits.ciphertext) ||
        keyId === "" ||
        Buffer.byteLength(keyId) > limits.keyId ||
        Object.keys(annotations).length > 0
      )
        throw unusable("an Encrypt reply that kube-apiserver would refuse");
      status.learn(keyId, epoch);
      return body;
    },

    decrypt: async (request, deadline, signal) => {
      const { ciphertext, keyId, annotations } = read(v2.DecryptRequestSchema, request);
      if (!isSize(ciphertext, limits.ciphertext)) throw malformed("a ciphertext of a size that Encrypt never returns");
      if (keyId === "" || Buffer.byteLength(keyId) > limits.keyId)
        throw malformed("a key_id of a size that Encrypt never returns");
      if (Object.keys(annotations).length > 0)
        throw new KmsError("ciphertext_invalid", { cause: new Error("annotations, which Encrypt never returns") });
      assertMessageSize(request);
      const { body } = await decrypts.call(request, deadline, signal, [ciphertext, Buffer.from(keyId)]);
      if (readReply(v2.DecryptResponseSchema, body).plaintext.length === 0) throw unusable("an empty plaintext");
      return body;
    },

    // Answered here: it says nothing of a key, and kube-apiserver asks it inside the deadline of
    // its first Encrypt.
    v1Version: async (request) => {
      assertV1(read(v1.VersionRequestSchema, request).version);
      const message = create(v1.VersionResponseSchema, {
        version: kmsVersionV1,
        runtimeName: "claviger",
        runtimeVersion: version,
      });
      return toBinary(v1.VersionResponseSchema, message);
    },

    v1Encrypt: async (request, deadline, signal) => {
      const { version: asked, plain } = read(v1.EncryptRequestSchema, request);
      assertV1(asked);
      if (!isSize(plain, limits.plaintext)) throw malformed("a plaintext of a size that is not served");
      assertMessageSize(request);
      const { body } = await upstream.call({
        method: "v1Encrypt",
        body: request,
        deadline,
        epoch: status.epoch(),
        accept: status.accept,
        hedge: false,
        signal,
      });
      if (!isSize(readReply(v1.EncryptResponseSchema, body).cipher, limits.v1Cipher))
        throw unusable("an Encrypt reply that would lose data");
      return body;
    },

    v1Decrypt: async (request, deadline, signal) => {
      const { version: asked, cipher } = read(v1.DecryptRequestSchema, request);
      assertV1(asked);
      if (!isSize(cipher, limits.v1Cipher)) throw malformed("a cipher of a size that Encrypt never returns");
      assertMessageSize(request);
      const { body } = await upstream.call({
        method: "v1Decrypt",
        body: request,
        deadline,
        epoch: status.epoch(),
        accept: status.accept,
        hedge: true,
        signal,
      });
      if (readReply(v1.DecryptResponseSchema, body).plain.length === 0) throw unusable("an empty plaintext");
      return body;
    },
  };
}

// Unknown fields and the uid count too. Checked here, so that one huge request never fails a batch
// of others.
function assertMessageSize(request: Buffer): void {
  if (request.length > limits.message) throw new KmsError("request_too_large");
}

function assertV1(version: string): void {
  if (version !== kmsVersionV1) throw malformed("a KMS v1 version other than v1beta1");
}
