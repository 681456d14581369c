// The bytes that stand in etcd as `ciphertext`: "clv1" and an Envelope. Codec only: who may open it
// is decided elsewhere. (docs/architecture.md #envelope.)
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { EnvelopeSchema } from "@claviger/proto/gen/claviger/envelope_pb.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import {
  type BackendName,
  backendName,
  type ClusterUid,
  clusterUid,
  type KeyId,
  keyId,
} from "@claviger/proto/wire/names.ts";
import { limits } from "@claviger/proto/wire/protocol.ts";

const magic = Buffer.from("clv1");

/** A DEK seed under one version of one key. */
export type Wrap = {
  readonly backend: BackendName;
  /** `mount/name`, with the namespace before it where there is one; see keyPath. */
  readonly key: string;
  readonly version: number;
  readonly ciphertext: Uint8Array;
};

export type Envelope = { readonly clusterUid: ClusterUid; readonly keyId: KeyId; readonly wraps: readonly Wrap[] };

/**
 * Writes an envelope.
 * @returns 1..1024 bytes, for KMS v1 and v2 alike
 * @throws KmsError request_malformed when it would be longer than Kubernetes takes (a plaintext too
 * long for the cluster's names)
 */
export function encodeEnvelope(envelope: Envelope): Uint8Array {
  const bytes = Buffer.concat([
    magic,
    toBinary(EnvelopeSchema, create(EnvelopeSchema, { ...envelope, wraps: [...envelope.wraps] })),
  ]);
  if (bytes.length > limits.ciphertext)
    throw new KmsError("request_malformed", { cause: new Error(`envelope of ${bytes.length} bytes`) });
  return bytes;
}

/**
 * Reads an envelope; refuses every byte sequence that encodeEnvelope would not have written, so no
 * two ciphertexts mean the same.
 * @param bytes not kept; the wraps' ciphertexts are views into it
 * @throws KmsError ciphertext_invalid
 */
export function decodeEnvelope(bytes: Uint8Array): Envelope {
  const invalid = (why: string): KmsError => new KmsError("ciphertext_invalid", { cause: new Error(why) });
  if (bytes.length > limits.ciphertext || !magic.equals(bytes.subarray(0, magic.length)))
    throw invalid("not an envelope of ours");
  let message;
  try {
    message = fromBinary(EnvelopeSchema, bytes.subarray(magic.length));
  } catch {
    throw invalid("an envelope that does not parse");
  }
  const { clusterUid: uid, keyId: id } = message;
  const wraps = message.wraps.map(({ backend, key, version, ciphertext }) => {
    if (!backendName.is(backend) || version < 1 || ciphertext.length === 0) throw invalid("a wrap that is incomplete");
    return { backend, key, version, ciphertext };
  });
  if (!clusterUid.is(uid) || !keyId.is(id) || wraps.length < 1) throw invalid("an envelope that is incomplete");
  const envelope = { clusterUid: uid, keyId: id, wraps };
  if (!Buffer.from(encodeEnvelope(envelope)).equals(bytes)) throw invalid("an envelope in a form that we do not write");
  return envelope;
}
