// What a browser keeps for this service and can neither read nor change: JSON under AES-256-GCM, for one use and
// until a time.
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";

const version = 1;
const [ivBytes, tagBytes] = [12, 16];

export interface Seal<T> {
  /** @param until Unix milliseconds: nothing opens it after that */
  seal(value: T, until: number): string;
  /** Undefined for what was not sealed for this use, or is over. */
  open(text: string): T | undefined;
}

/**
 * @param secret at least 32 bytes
 * @param use what is sealed for one use opens for no other
 * @param now Unix milliseconds
 */
export function createSeal<T>(secret: Uint8Array, use: string, now: () => number = Date.now): Seal<T> {
  const key = new Uint8Array(hkdfSync("sha256", secret, "", `claviger/v1/console/${use}`, 32));
  return {
    seal(value, until) {
      const iv = randomBytes(ivBytes);
      const cipher = createCipheriv("aes-256-gcm", key, iv);
      const text = JSON.stringify({ value, until });
      const sealed = Buffer.concat([Buffer.from([version]), iv, cipher.update(text, "utf8"), cipher.final()]);
      return Buffer.concat([sealed, cipher.getAuthTag()]).toString("base64url");
    },
    open(text) {
      const bytes = Buffer.from(text, "base64url");
      if (bytes[0] !== version || bytes.length <= 1 + ivBytes + tagBytes) return undefined;
      const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(1, 1 + ivBytes));
      decipher.setAuthTag(bytes.subarray(-tagBytes));
      try {
        const plain = Buffer.concat([decipher.update(bytes.subarray(1 + ivBytes, -tagBytes)), decipher.final()]);
        const { value, until } = JSON.parse(plain.toString("utf8")) as { readonly value: T; readonly until: number };
        return until > now() ? value : undefined;
      } catch {
        return undefined;
      }
    },
  };
}
