// Tries a key version both ways before clusters depend on it, and now and then after.
// (docs/architecture.md #rotation; docs/kms-contract.md check 24.)
import { createHash, randomBytes } from "node:crypto";
import { KmsError, toKmsError } from "@claviger/proto/wire/errors.ts";
import { zeroize } from "@claviger/proto/runtime/secret.ts";
import type { Backend, KeyRef, Outcome, Unwrapped } from "@claviger/gateway-core/src/backend/port.ts";
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
const otherMarker = Buffer.from("claviger/v1/canary of another");

/** Vault before 1.13 drops associated_data without a word: any cluster's ciphertext would open for any other. */
function assertBound(outcome: Outcome<Unwrapped> | undefined): void {
  if (outcome === undefined)
    throw new KmsError("backend_protocol_error", { cause: new Error("an outcome is missing") });
  if (!outcome.ok && outcome.error.reason === "ciphertext_invalid") return;
  if (!outcome.ok) throw outcome.error;
  zeroize(outcome.value.plaintext);
  const cause = new Error("the backend ignores associated data: Vault 1.13 or newer, or OpenBao, is needed");
  throw new KmsError("backend_protocol_error", { cause });
}

/**
 * Encrypts 32 random bytes under the version and decrypts them again. Resolves with what failed, or
 * undefined when all is well.
 * @param mustRefuse tries as well that the bytes do not come back under other associated data
 */
export async function runCanary(
  backend: Backend,
  key: KeyRef,
  version: number,
  signal: AbortSignal,
  { mustRefuse = false }: { readonly mustRefuse?: boolean } = {},
): Promise<CanaryFailure | undefined> {
  const plaintext = randomBytes(32);
  let operation: CanaryFailure["operation"] = "encrypt";
  try {
    const wrapped = only(await backend.wrap(key, [{ plaintext, associatedData: marker, version }], signal));
    operation = "decrypt";
    const { ciphertext } = wrapped;
    const items = (mustRefuse ? [marker, otherMarker] : [marker]).map((associatedData) => ({
      ciphertext,
      associatedData,
      version,
    }));
    const outcomes = await backend.unwrap(key, items, signal);
    const opened = only(outcomes);
    const same = plaintext.equals(opened.plaintext);
    zeroize(opened.plaintext);
    if (mustRefuse) assertBound(outcomes[1]);
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
