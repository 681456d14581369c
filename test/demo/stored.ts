// What kube-apiserver stores in etcd for an object under KMS v2: `k8s:enc:kms:v2:NAME:` and a
// protobuf EncryptedObject. Field numbers as Kubernetes publishes them
// (staging/src/k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmstypes/v2).
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

export type StoredObject = {
  readonly provider: string;
  /** info (32 bytes), nonce (12), AES-256-GCM ciphertext and tag (16) */
  readonly encryptedData: Uint8Array;
  readonly keyId: string;
  /** the DEK seed, as the KMS plugin encrypted it */
  readonly encryptedDekSource: Uint8Array;
  readonly annotations: Readonly<Record<string, Uint8Array>>;
};

const fields = { encryptedData: 1, keyId: 2, encryptedDekSource: 3, annotations: 4, dekSourceType: 5 } as const;

/**
 * EncryptedDEKSourceType: a seed from which HKDF makes one key for each write. 0 was a bare AES
 * key, before Kubernetes 1.29.
 */
const hkdfSeed = 1;

const prefix = "k8s:enc:kms:v2:";

/** The bytes under an etcd key. */
export function encodeStored({
  provider,
  encryptedData,
  keyId,
  encryptedDekSource,
  annotations,
}: StoredObject): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(fields.encryptedData, WireType.LengthDelimited).bytes(encryptedData);
  writer.tag(fields.keyId, WireType.LengthDelimited).string(keyId);
  writer.tag(fields.encryptedDekSource, WireType.LengthDelimited).bytes(encryptedDekSource);
  for (const [name, value] of Object.entries(annotations)) {
    writer.tag(fields.annotations, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(name);
    writer.tag(2, WireType.LengthDelimited).bytes(value);
    writer.join();
  }
  writer.tag(fields.dekSourceType, WireType.Varint).int32(hkdfSeed);
  return Buffer.concat([Buffer.from(`${prefix}${provider}:`), writer.finish()]);
}

function readAnnotation(bytes: Uint8Array): readonly [string, Uint8Array] {
  const reader = new BinaryReader(bytes);
  let name = "";
  let value: Uint8Array = new Uint8Array();
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1) name = reader.string();
    else if (field === 2) value = reader.bytes();
    else reader.skip(wireType);
  }
  return [name, value];
}

/** @throws Error when the bytes are not a KMS v2 object under a seed */
export function decodeStored(stored: Uint8Array): StoredObject {
  const bytes = Buffer.from(stored);
  const end = bytes.indexOf(":", prefix.length);
  if (!bytes.subarray(0, prefix.length).equals(Buffer.from(prefix)) || end < 0)
    throw new Error(`the value does not start with ${prefix}NAME:`);
  const reader = new BinaryReader(bytes.subarray(end + 1));
  let object: StoredObject = {
    provider: bytes.subarray(prefix.length, end).toString(),
    encryptedData: new Uint8Array(),
    keyId: "",
    encryptedDekSource: new Uint8Array(),
    annotations: {},
  };
  let type = 0;
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === fields.encryptedData) object = { ...object, encryptedData: reader.bytes() };
    else if (field === fields.keyId) object = { ...object, keyId: reader.string() };
    else if (field === fields.encryptedDekSource) object = { ...object, encryptedDekSource: reader.bytes() };
    else if (field === fields.annotations) {
      const [name, value] = readAnnotation(reader.bytes());
      object = { ...object, annotations: { ...object.annotations, [name]: value } };
    } else if (field === fields.dekSourceType) type = reader.int32();
    else reader.skip(wireType);
  }
  if (type !== hkdfSeed) throw new Error(`the DEK source is of type ${type}, not a seed`);
  return object;
}
