// The HMAC key of what stands in Redis: derived through the backend at start, by every gateway
// alike, and never stored. (docs/architecture.md #keys.)
import { setTimeout as sleep } from "node:timers/promises";
import type { KeyRef, Signer } from "../backend/port.ts";
import type { RedisConfig } from "./client.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";

/** The key that what stands in Redis is authenticated under. */
export function integrityRef({ integrity: { backend, namespace, mount, key } }: RedisConfig): KeyRef {
  return {
    backend,
    mount,
    key,
    ...(namespace !== undefined && { namespace }),
  };
}

const constant = Buffer.from("claviger/v1/redis-integrity");

/** 32 bytes, the same for everybody who may use this key. @throws KmsError as Sealer */
export function integrityKey(signer: Signer, ref: KeyRef, version: number, signal: AbortSignal): Promise<Uint8Array> {
  return signer.hmac(ref, version, constant, signal);
}

/** Derives in the background, for as long as it takes; gives undefined until then. */
export function deriveIntegrityKey(
  signer: Signer,
  ref: KeyRef,
  version: number,
  log: Log,
): { readonly get: () => Uint8Array | undefined; close(): void } {
  let secret: Uint8Array | undefined;
  let isClosed = false;
  const derive = async (): Promise<void> => {
    for (let pauseMs = 250; !isClosed && secret === undefined; pauseMs = Math.min(pauseMs * 2, 10_000)) {
      try {
        secret = await integrityKey(signer, ref, version, AbortSignal.timeout(5000));
      } catch (error) {
        log.warn(
          { event: "integrity-key-missing", err: error },
          "no key for the reports in Redis yet; this replica works for itself",
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
