// What a gateway has found out about a key, as it stands in Redis for the other gateways and for the fleet
// service. Whoever reads one judges its age. (docs/architecture.md #keys.)
import type { KeyState } from "../backend/port.ts";
import type { RedisStore } from "./client.ts";
import { signValue, verifyValue } from "./signed-value.ts";

/** What one replica found out about a key. */
export type SharedKeyState = { readonly state: KeyState; readonly failing?: "encrypt" | "decrypt" };

/** `sequence` goes up from one report to the next, and is Unix milliseconds. */
export type KeyReport = SharedKeyState & { readonly sequence: number };

/** As it stands in Redis. */
type Payload = {
  readonly sequence: number;
  readonly versions: readonly (readonly [number, number])[];
  readonly latest: number;
  readonly minEncryption: number;
  readonly minDecryption: number;
  readonly failing?: "encrypt" | "decrypt";
};

const keepMs = 10 * 60_000;

function nameOf(key: string): string {
  return `key:${key}`;
}

/**
 * @param key by its refId
 * @returns undefined where there is none that somebody with the integrity key has written
 * @throws Error when Redis does not answer
 */
export async function readKeyReport(
  redis: Pick<RedisStore, "get">,
  secret: Uint8Array,
  key: string,
): Promise<KeyReport | undefined> {
  const name = nameOf(key);
  const value = await redis.get(name);
  const text = value === null ? undefined : verifyValue(secret, name, value);
  if (text === undefined) return undefined;
  // Behind a good HMAC the text is one that writeKeyReport wrote.
  const { sequence, versions, latest, minEncryption, minDecryption, failing } = JSON.parse(text) as Payload;
  const state = { versions: new Map(versions), latest, minEncryption, minDecryption };
  return { sequence, state, ...(failing !== undefined && { failing }) };
}

/** @throws Error when Redis does not answer */
export async function writeKeyReport(
  redis: Pick<RedisStore, "set">,
  secret: Uint8Array,
  key: string,
  { sequence, state, failing }: KeyReport,
): Promise<void> {
  const { latest, minEncryption, minDecryption } = state;
  const payload: Payload = {
    sequence,
    versions: [...state.versions].filter(([version]) => version >= minDecryption),
    latest,
    minEncryption,
    minDecryption,
    ...(failing !== undefined && { failing }),
  };
  await redis.set(nameOf(key), signValue(secret, nameOf(key), JSON.stringify(payload)), keepMs);
}
