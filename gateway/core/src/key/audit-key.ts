// What makes audit records believable: a key of their own, derived from the fleet's integrity key,
// and Vault's own word on the head of a chain. (docs/architecture.md #audit.)
import type { KeyObject } from "node:crypto";
import type { Signer } from "../backend/port.ts";
import { type IntegrityConfig, integrityKeySource, integrityRef } from "./integrity.ts";

export type AuditKey = {
  /** The key of the MACs; undefined while the integrity key is not known. */
  readonly key: () => KeyObject | undefined;
  /** The version of the integrity key. */
  readonly keyVersion: number;
  /** Vault's HMAC under the integrity key, 32 bytes. @throws KmsError as Signer */
  readonly sign: (input: Uint8Array, signal: AbortSignal) => Promise<Uint8Array>;
};

/** @param secret the integrity key; undefined while it is not known */
export function createAuditKey(
  signer: Signer,
  config: IntegrityConfig,
  secret: () => Uint8Array | undefined,
): AuditKey {
  return {
    keyVersion: config.version,
    key: integrityKeySource("audit", secret),
    sign: (input, signal) => signer.hmac(integrityRef(config), config.version, input, signal),
  };
}
