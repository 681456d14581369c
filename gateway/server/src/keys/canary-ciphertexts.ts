// A ciphertext of known bytes for each key version that has encrypted: what shows that earlier
// versions still decrypt, long before somebody needs them. Kept in the registry's store, where that
// is a Vault; a registry in a file has no place for them. (docs/architecture.md #rotation.)
import { createHash } from "node:crypto";
import { z } from "@claviger/proto/runtime/config.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import type { DocumentRef, Documents } from "@claviger/gateway-core/src/backend/port.ts";

export type CanaryCiphertext = {
  readonly version: number;
  /** Of the version, Unix seconds: a key that was made anew begins with 1 again. */
  readonly createdAt: number;
  readonly ciphertext: Uint8Array;
};

export interface CanaryCiphertexts {
  /** Those of a key. @throws KmsError as Documents */
  all(key: string): Promise<readonly CanaryCiphertext[]>;
  /** Keeps one more; the first of a version counts. @throws KmsError as Documents */
  keep(key: string, canaryCiphertext: CanaryCiphertext): Promise<void>;
}

const stored = z.object({
  key: z.string(),
  versions: z.array(z.object({ version: z.number(), createdAt: z.number(), ciphertext: z.string() })),
});
const callMs = 5000;

export function createCanaryCiphertexts(documents: Documents, registry: DocumentRef): CanaryCiphertexts {
  // Beside the registry, never under its name: whoever may write these may not write that.
  const at = (key: string): DocumentRef => ({
    ...registry,
    path: `${registry.path}-canary/${createHash("sha256").update(key).digest("hex").slice(0, 32)}`,
  });
  const read = async (
    key: string,
  ): Promise<{ readonly kept: readonly CanaryCiphertext[]; readonly version: number }> => {
    const found = await documents.readDocument(at(key), AbortSignal.timeout(callMs));
    if (found === undefined) return { kept: [], version: 0 };
    const parsed = stored.safeParse(found.data);
    if (!parsed.success)
      throw new KmsError("backend_protocol_error", { cause: new Error("kept ciphertexts of another form") });
    const kept = parsed.data.versions.map(({ ciphertext, ...rest }) => ({
      ...rest,
      ciphertext: Buffer.from(ciphertext, "base64"),
    }));
    return { kept, version: found.version };
  };
  return {
    all: async (key) => (await read(key)).kept,
    async keep(key, canaryCiphertext) {
      const { kept, version } = await read(key);
      if (kept.some((one) => one.version === canaryCiphertext.version && one.createdAt === canaryCiphertext.createdAt))
        return;
      const versions = [...kept, canaryCiphertext].map(({ ciphertext, ...rest }) => ({
        ...rest,
        ciphertext: Buffer.from(ciphertext).toString("base64"),
      }));
      // Somebody else was faster: the next canary looks again.
      await documents.writeDocument(at(key), { key, versions }, version, AbortSignal.timeout(callMs));
    },
  };
}
