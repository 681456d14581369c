// What kube-apiserver stores in etcd for an encrypted object, as far as one must look to tell which
// key it depends on. Opens nothing. Field numbers as Kubernetes publishes them
// (staging/src/k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmstypes/v2).
// (docs/kms-contract.md sections 1.3 and 2.)
import { BinaryReader } from "@bufbuild/protobuf/wire";

export type Stored =
  /** Not encrypted at all. */
  | { readonly kind: "plain" }
  /** Encrypted by something else than KMS: the transformer's name, e.g. aescbc:v1. */
  | { readonly kind: "other"; readonly transformer: string }
  /**
   * A DEK or DEK seed that a KMS plugin encrypted. `keyId` as it stands beside it; KMS v1 keeps
   * none.
   */
  | { readonly kind: "kms"; readonly provider: string; readonly keyId?: string; readonly ciphertext: Uint8Array }
  /** Begins like a value of KMS and does not parse as one. */
  | { readonly kind: "damaged" };

const fields = { keyId: 2, encryptedDekSource: 3 } as const;
const encrypted = "k8s:enc:";
const longestPrefix = 512;

function readV2(provider: string, body: Uint8Array): Stored {
  const reader = new BinaryReader(body);
  let keyId = "";
  let ciphertext: Uint8Array = new Uint8Array();
  try {
    while (reader.pos < reader.len) {
      const [field, wireType] = reader.tag();
      if (field === fields.keyId) keyId = reader.string();
      else if (field === fields.encryptedDekSource) ciphertext = reader.bytes();
      else reader.skip(wireType);
    }
  } catch {
    return { kind: "damaged" };
  }
  return keyId === "" || ciphertext.length === 0 ? { kind: "damaged" } : { kind: "kms", provider, keyId, ciphertext };
}

/** The encrypted DEK stands behind its length, two bytes. */
function readV1(provider: string, body: Buffer): Stored {
  const length = body.length < 2 ? 0 : body.readUInt16BE(0);
  return length === 0 || body.length < 2 + length
    ? { kind: "damaged" }
    : { kind: "kms", provider, ciphertext: body.subarray(2, 2 + length) };
}

/** Looks at one value. @param value not kept; a ciphertext in the result is a view into it */
export function readStored(value: Buffer): Stored {
  if (!value.subarray(0, encrypted.length).equals(Buffer.from(encrypted))) return { kind: "plain" };
  const head = value.subarray(0, longestPrefix).toString("latin1");
  const kms = /^k8s:enc:kms:(v[12]):([^:]+):/.exec(head);
  if (kms === null) {
    const other = /^k8s:enc:([^:]+:[^:]+):/.exec(head)?.[1];
    return other === undefined || other.startsWith("kms:")
      ? { kind: "damaged" }
      : { kind: "other", transformer: other };
  }
  const [prefix, version, provider = ""] = kms;
  const body = value.subarray(prefix.length);
  return version === "v2" ? readV2(provider, body) : readV1(provider, body);
}
