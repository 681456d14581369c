// Values in Redis, which is not trusted: each carries an HMAC under a key that the gateways derive,
// bound to the name it stands under. (docs/architecture.md #keys.)
import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from "node:crypto";
import { lengthPrefixed } from "../key/key-id.ts";

/** An HMAC under bytes takes five times as long as one under a key that Node.js has prepared. */
const prepared = new WeakMap<Uint8Array, KeyObject>();

function keyOf(bytes: Uint8Array): KeyObject {
  const known = prepared.get(bytes);
  if (known !== undefined) return known;
  const key = createSecretKey(bytes);
  prepared.set(bytes, key);
  return key;
}

function mac(key: Uint8Array, name: string, text: string): Buffer {
  return createHmac("sha256", keyOf(key))
    .update(lengthPrefixed([name, text]))
    .digest();
}

/** What to store under `name`. */
export function signValue(key: Uint8Array, name: string, text: string): string {
  return `${mac(key, name, text).toString("base64url")}.${text}`;
}

/** The text, or undefined when nobody with the key has put it under this name. */
export function verifyValue(key: Uint8Array, name: string, value: string): string | undefined {
  const dot = value.indexOf(".");
  const given = Buffer.from(value.slice(0, Math.max(dot, 0)), "base64url");
  const text = value.slice(dot + 1);
  const wanted = mac(key, name, text);
  return given.length === wanted.length && timingSafeEqual(given, wanted) ? text : undefined;
}
