// Base64 between buffers: key material on its way to and from Vault must not become a JavaScript
// string, which cannot be zeroized. (Node's own conversions go through strings; its decoder also
// accepts what no encoder writes.)
import { newSecretBytes } from "@claviger/proto/runtime/secret.ts";

const alphabet = Buffer.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
const padding = 0x3d;
const values = new Uint8Array(256).fill(255);
alphabet.forEach((character, value) => {
  values[character] = value;
});

/** Characters that encode `bytes` bytes. */
export function encodedLength(bytes: number): number {
  return Math.ceil(bytes / 3) * 4;
}

/** Writes the base64 of `source` into `target` from `at` on; returns the position after it. */
export function encodeBase64(source: Uint8Array, target: Uint8Array, at: number): number {
  let to = at;
  for (let from = 0; from < source.length; from += 3) {
    const left = source.length - from;
    const bits = ((source[from] ?? 0) << 16) | ((source[from + 1] ?? 0) << 8) | (source[from + 2] ?? 0);
    target[to++] = alphabet[(bits >> 18) & 63] ?? 0;
    target[to++] = alphabet[(bits >> 12) & 63] ?? 0;
    target[to++] = left > 1 ? (alphabet[(bits >> 6) & 63] ?? 0) : padding;
    target[to++] = left > 2 ? (alphabet[bits & 63] ?? 0) : padding;
  }
  return to;
}

/**
 * The bytes that `text` encodes; undefined for anything that an encoder would not have written. The
 * result is the caller's to zeroize.
 */
export function decodeBase64(text: Uint8Array): Buffer | undefined {
  if (text.length % 4 !== 0) return undefined;
  const pads = text.at(-1) !== padding ? 0 : text.at(-2) !== padding ? 1 : 2;
  const length = (text.length / 4) * 3 - pads;
  const bytes = newSecretBytes(Math.max(length, 0));
  let to = 0;
  for (let from = 0; from < text.length; from += 4) {
    let bits = 0;
    for (let i = 0; i < 4; i++) {
      const isPad = from + i >= text.length - pads;
      const value = isPad ? 0 : (values[text[from + i] ?? 0] ?? 255);
      if (value === 255) {
        bytes.fill(0);
        return undefined;
      }
      bits = (bits << 6) | value;
    }
    for (const shift of [16, 8, 0]) if (to < length) bytes[to++] = (bits >> shift) & 255;
    // Bits that stand for nothing must be zero, or two texts would mean the same.
    if (to === length && pads > 0 && from + 4 === text.length && (bits & (pads === 2 ? 0xffff : 0xff)) !== 0) {
      bytes.fill(0);
      return undefined;
    }
  }
  return bytes;
}
