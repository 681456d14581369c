// Acts as kube-apiserver does with KMS v2: one DEK seed for each start and key_id, one key derived
// from it for each write. (Kubernetes KEP-3299; the derivation is HKDF-Expand of RFC 5869 section
// 2.3.)
import { createCipheriv, createDecipheriv, createHash, createHmac, randomBytes, randomUUID } from "node:crypto";
import type { KmsClient } from "@claviger/cli/src/kms-client.ts";
import { decodeStored, encodeStored } from "./stored.ts";

const infoLength = 32;
const nonceLength = 12;
const tagLength = 16;

/** HKDF-Expand with SHA-256 to 32 bytes is its first block: HMAC(seed, info | 0x01). */
function deriveKey(seed: Uint8Array, info: Uint8Array): Buffer {
  return createHmac("sha256", seed).update(info).update(Uint8Array.of(1)).digest();
}

function seal(seed: Uint8Array, etcdKey: string, plaintext: Uint8Array): Buffer {
  const [info, nonce] = [randomBytes(infoLength), randomBytes(nonceLength)];
  const cipher = createCipheriv("aes-256-gcm", deriveKey(seed, info), nonce).setAAD(Buffer.from(etcdKey));
  return Buffer.concat([info, nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

/** The object in a stored value's encryptedData. @throws Error under another seed or etcd key */
export function openSealed(seed: Uint8Array, etcdKey: string, sealed: Uint8Array): Buffer {
  const bytes = Buffer.from(sealed);
  const info = bytes.subarray(0, infoLength);
  const nonce = bytes.subarray(infoLength, infoLength + nonceLength);
  const decipher = createDecipheriv("aes-256-gcm", deriveKey(seed, info), nonce).setAAD(Buffer.from(etcdKey));
  decipher.setAuthTag(bytes.subarray(bytes.length - tagLength));
  return Buffer.concat([
    decipher.update(bytes.subarray(infoLength + nonceLength, bytes.length - tagLength)),
    decipher.final(),
  ]);
}

type SealedSeed = {
  readonly seed: Uint8Array;
  readonly keyId: string;
  readonly ciphertext: Uint8Array;
  readonly annotations: Readonly<Record<string, Uint8Array>>;
};

export type Apiserver = {
  /**
   * Polls Status; a key_id not seen before makes a new seed. Resolves with the key_id in use and
   * whether it is new.
   */
  poll(): Promise<{
    readonly keyId: string;
    readonly isNew: boolean;
    readonly healthz: string;
    readonly ciphertextLength: number;
  }>;
  /** What a write of an object puts into etcd. */
  write(etcdKey: string, object: Uint8Array): Uint8Array;
  /** Reads it back; a seed not in memory is asked of the KMS. */
  read(etcdKey: string, stored: Uint8Array): Promise<{ readonly object: Buffer; readonly kmsCalls: number }>;
};

/** A fresh apiserver: it remembers nothing of an earlier one. */
export function createApiserver({ kms, provider }: { readonly kms: KmsClient; readonly provider: string }): Apiserver {
  let current: SealedSeed | undefined;
  const known = new Map<string, Uint8Array>();
  const nameOf = (ciphertext: Uint8Array, keyId: string): string =>
    createHash("sha256").update(keyId).update("\0").update(ciphertext).digest("hex");

  return {
    async poll() {
      const { healthz, keyId } = await kms.status();
      if (current?.keyId === keyId)
        return { keyId, healthz, isNew: false, ciphertextLength: current.ciphertext.length };
      const seed = randomBytes(32);
      const encrypted = await kms.encrypt({ plaintext: seed, uid: randomUUID() });
      if (encrypted.keyId !== keyId) throw new Error("Encrypt and Status name different key_ids");
      current = { seed, keyId, ciphertext: encrypted.ciphertext, annotations: encrypted.annotations };
      known.set(nameOf(encrypted.ciphertext, keyId), seed);
      return { keyId, healthz, isNew: true, ciphertextLength: encrypted.ciphertext.length };
    },
    write(etcdKey, object) {
      if (current === undefined) throw new Error("no seed yet: poll first");
      return encodeStored({
        provider,
        encryptedData: seal(current.seed, etcdKey, object),
        keyId: current.keyId,
        encryptedDekSource: current.ciphertext,
        annotations: current.annotations,
      });
    },
    async read(etcdKey, stored) {
      const { encryptedDekSource, keyId, annotations, encryptedData } = decodeStored(stored);
      const name = nameOf(encryptedDekSource, keyId);
      const inMemory = known.get(name);
      const seed =
        inMemory ??
        (await kms.decrypt({ ciphertext: encryptedDekSource, keyId, annotations, uid: randomUUID() })).plaintext;
      known.set(name, seed);
      return { object: openSealed(seed, etcdKey, encryptedData), kmsCalls: inMemory === undefined ? 1 : 0 };
    },
  };
}
