// The integrity key: what gateways authenticate to each other, by way of Redis and of shims, is under
// it. Derived through a backend at the start, by every gateway alike, and never stored.
// (docs/architecture.md #keys.)
import { createSecretKey, hkdfSync, type KeyObject } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { z, zInteger, zName } from "@claviger/proto/runtime/config.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { backendName, keyName, mountPath } from "@claviger/proto/wire/names.ts";
import type { KeyRef, Signer } from "../backend/port.ts";

/** The schema of the setting; docs/reference/settings.md is generated from it. */
export const integritySchema = z.strictObject({
  /** The backend that holds the key. */
  backend: zName(backendName),
  /** The Vault namespace of the mount. */
  namespace: z.optional(zName(mountPath)),
  /** The Transit mount of the key. */
  mount: zName(mountPath),
  /** The name of the key. */
  key: zName(keyName),
  /** The version of the key, so that a rotation of it changes nothing by itself. */
  version: zInteger(1, 1_000_000),
});

export type IntegrityConfig = z.infer<typeof integritySchema>;

/** The key that the setting names. */
export function integrityRef({ backend, namespace, mount, key }: IntegrityConfig): KeyRef {
  return { backend, mount, key, ...(namespace !== undefined && { namespace }) };
}

// What 0.1.0 derived, so that values in Redis count across an upgrade.
const constant = Buffer.from("claviger/v1/redis-integrity");

/** 32 bytes, the same for everybody who may use this key. @throws KmsError as Signer */
export function integrityKey(signer: Signer, config: IntegrityConfig, signal: AbortSignal): Promise<Uint8Array> {
  return signer.hmac(integrityRef(config), config.version, constant, signal);
}

type Use = "epoch" | "audit";

/** A key of 32 bytes for another use of the integrity key. */
export function integrityKeyFor(use: Use, secret: Uint8Array): KeyObject {
  return createSecretKey(new Uint8Array(hkdfSync("sha256", secret, "", `claviger/v1/${use}`, 32)));
}

/**
 * The same, derived once it can be, and once.
 * @param secret the integrity key; undefined while it is not known, and then so is what is returned
 */
export function integrityKeySource(use: Use, secret: () => Uint8Array | undefined): () => KeyObject | undefined {
  let key: KeyObject | undefined;
  return () => {
    const integrity = key === undefined ? secret() : undefined;
    if (integrity !== undefined) key = integrityKeyFor(use, integrity);
    return key;
  };
}

/** Derives in the background, for as long as it takes; gives undefined until then. */
export function deriveIntegrityKey(
  signer: Signer,
  config: IntegrityConfig,
  log: Log,
): { readonly get: () => Uint8Array | undefined; close(): void } {
  let secret: Uint8Array | undefined;
  let isClosed = false;
  const derive = async (): Promise<void> => {
    for (let pauseMs = 250; !isClosed && secret === undefined; pauseMs = Math.min(pauseMs * 2, 10_000)) {
      try {
        secret = await integrityKey(signer, config, AbortSignal.timeout(5000));
      } catch (error) {
        log.warn(
          { event: "integrity-key-missing", err: error },
          "no integrity key yet: this replica works without Redis, and neither what it says of a key's age nor its audit records are authenticated",
        );
        await sleep(pauseMs, undefined, { ref: false });
      }
    }
  };
  void derive();
  return {
    get: () => secret,
    close() {
      isClosed = true;
    },
  };
}
