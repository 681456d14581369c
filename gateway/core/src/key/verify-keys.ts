// What audit records are verified by: keys that are derived, and signatures that are asked for, with the right of
// whoever verifies. (docs/architecture.md #audit.)
import type { KeyObject } from "node:crypto";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import type { Signer } from "../backend/port.ts";
import { type IntegrityConfig, integrityKey, integrityKeyFor, integrityRef } from "./integrity.ts";

const callMs = 10_000;

/** Undefined where the backend knows no such version. */
async function orNothing<T>(result: Promise<T>): Promise<T | undefined> {
  try {
    return await result;
  } catch (error) {
    const isMissing = error instanceof KmsError && /^(?:key_missing|backend_protocol_error)$/.test(error.reason);
    if (!isMissing) throw error;
    return undefined;
  }
}

/** @param config the integrity key, and its version for lines that name none */
export function createVerifyKeys(signer: Signer, config: IntegrityConfig) {
  const keys = new Map<number, Promise<KeyObject | undefined>>();
  const derive = async (version: number): Promise<KeyObject | undefined> => {
    const secret = integrityKey(signer, { ...config, version }, AbortSignal.timeout(callMs));
    // A version that a line names may be made up; that of the configuration must be there.
    const known = version === config.version ? await secret : await orNothing(secret);
    return known && integrityKeyFor("audit", known);
  };
  return {
    key: (version = config.version): Promise<KeyObject | undefined> => {
      const key = keys.get(version) ?? derive(version);
      keys.set(version, key);
      return key;
    },
    sign: (input: Uint8Array, version: number): Promise<Uint8Array | undefined> =>
      orNothing(signer.hmac(integrityRef(config), version, input, AbortSignal.timeout(callMs))),
  };
}
