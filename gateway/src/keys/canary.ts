// Tries a key version both ways before clusters depend on it, and now and then after. (Design section 7; contract check 24.)
import { randomBytes } from "node:crypto";
import { KmsError } from "@claviger/proto/errors.ts";
import { wipe } from "@claviger/proto/secret.ts";
import type { Backend, KeyRef, Outcome } from "../backend/port.ts";

/** What failed, and why. */
export type CanaryFailure = { readonly operation: "encrypt" | "decrypt"; readonly error: KmsError };

const only = <T>(outcomes: readonly Outcome<T>[]): T => {
  const [first] = outcomes;
  if (first === undefined) throw new KmsError("backend_misbehaved", { cause: new Error("no outcome for a canary") });
  if (!first.ok) throw first.error;
  return first.value;
};

const marker = Buffer.from("claviger/v1/canary");

/** Encrypts 32 random bytes under the version and decrypts them again. Resolves with what failed, or undefined when all is well. */
export const runCanary = async (
  backend: Backend,
  key: KeyRef,
  version: number,
  signal: AbortSignal,
): Promise<CanaryFailure | undefined> => {
  const plaintext = randomBytes(32);
  let operation: CanaryFailure["operation"] = "encrypt";
  try {
    const wrapped = only(await backend.wrap(key, [{ plaintext, associatedData: marker, version }], signal));
    operation = "decrypt";
    const opened = only(await backend.unwrap(key, [{ ciphertext: wrapped.ciphertext, associatedData: marker, version }], signal));
    const same = plaintext.equals(opened.plaintext);
    wipe(opened.plaintext);
    return same
      ? undefined
      : { operation, error: new KmsError("backend_misbehaved", { cause: new Error("the canary came back changed") }) };
  } catch (error) {
    return { operation, error: error instanceof KmsError ? error : new KmsError("internal", { cause: error }) };
  } finally {
    wipe(plaintext);
  }
};
