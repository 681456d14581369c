// Tries a key version both ways before clusters depend on it, and now and then after.
// (docs/architecture.md #rotation; docs/kms-contract.md check 24.)
import { createHash, randomBytes } from "node:crypto";
import { KmsError, toKmsError } from "@claviger/proto/wire/errors.ts";
import { zeroize } from "@claviger/proto/runtime/secret.ts";
import type { Backend, KeyRef, Outcome } from "@claviger/gateway-core/src/backend/port.ts";
import type { CanaryCiphertext } from "./canary-ciphertexts.ts";
import type { PromotedVersion } from "@claviger/gateway-core/src/key/promotion.ts";

/** What failed, and why. */
export type CanaryFailure = { readonly operation: "encrypt" | "decrypt"; readonly error: KmsError };

function only<T>(outcomes: readonly Outcome<T>[]): T {
  const [first] = outcomes;
  if (first === undefined)
    throw new KmsError("backend_protocol_error", { cause: new Error("no outcome for a canary") });
  if (!first.ok) throw first.error;
  return first.value;
}

const marker = Buffer.from("claviger/v1/canary");

/**
 * Encrypts 32 random bytes under the version and decrypts them again. Resolves with what failed, or
 * undefined when all is well.
 */
export async function runCanary(
  backend: Backend,
  key: KeyRef,
  version: number,
  signal: AbortSignal,
): Promise<CanaryFailure | undefined> {
  const plaintext = randomBytes(32);
  let operation: CanaryFailure["operation"] = "encrypt";
  try {
    const wrapped = only(await backend.wrap(key, [{ plaintext, associatedData: marker, version }], signal));
    operation = "decrypt";
    const opened = only(
      await backend.unwrap(key, [{ ciphertext: wrapped.ciphertext, associatedData: marker, version }], signal),
    );
    const same = plaintext.equals(opened.plaintext);
    zeroize(opened.plaintext);
    return same
      ? undefined
      : {
          operation,
          error: new KmsError("backend_protocol_error", { cause: new Error("the canary came back changed") }),
        };
  } catch (error) {
    return { operation, error: error instanceof KmsError ? error : new KmsError("internal", { cause: error }) };
  } finally {
    zeroize(plaintext);
  }
}

/** No secret: what matters is whether it comes back. */
const known = createHash("sha256").update(marker).digest();

/** Encrypts the known bytes under the version, to be kept. @throws KmsError */
export async function makeCanaryCiphertext(
  backend: Backend,
  key: KeyRef,
  { version, createdAt }: PromotedVersion,
  signal: AbortSignal,
): Promise<CanaryCiphertext> {
  const { ciphertext } = only(await backend.wrap(key, [{ plaintext: known, associatedData: marker, version }], signal));
  return { version, createdAt, ciphertext };
}

/**
 * Decrypts a kept ciphertext. Resolves with the reason why not, or undefined when the known bytes
 * came back.
 */
export async function tryCanaryCiphertext(
  backend: Backend,
  key: KeyRef,
  canaryCiphertext: CanaryCiphertext,
  signal: AbortSignal,
): Promise<KmsError | undefined> {
  try {
    const { plaintext } = only(await backend.unwrap(key, [{ ...canaryCiphertext, associatedData: marker }], signal));
    return known.equals(plaintext)
      ? undefined
      : new KmsError("backend_protocol_error", { cause: new Error("a kept canary came back changed") });
  } catch (error) {
    return toKmsError(error);
  }
}
