// Tokens with which nodes enroll: a random text that is good once, for one name, for a while. Stored is its
// SHA-256 alone. (docs/architecture.md #enrollment.)
import { createHash, randomBytes } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { codeOf } from "@claviger/proto/runtime/file-problem.ts";
import { parseYaml, z, zName, zPath } from "@claviger/proto/runtime/config.ts";
import { backendName, clusterName, clusterUid, mountPath, nodeName } from "@claviger/proto/wire/names.ts";
import type { DocumentRef, Documents } from "@claviger/gateway-core/src/backend/port.ts";

/** Where the SHA-256 of each token stands until it is used. */
export const tokensSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    /** A directory, for one replica of this service. */
    kind: z.literal("directory"),
    /** The directory; made where it is missing. */
    directory: zPath,
  }),
  z.strictObject({
    /** Documents in KV version 2 of a Vault, for several replicas. */
    kind: z.literal("vault"),
    /** A backend of kind vault: its addresses and its login. */
    backend: zName(backendName),
    /** The Vault namespace of the mount. */
    namespace: z.optional(zName(mountPath)),
    /** The mount of the KV store. */
    mount: zName(mountPath),
    /** The path that tokens are below. */
    path: z._default(zName(mountPath), mountPath.parse("node-tokens")),
  }),
]);

const tokenRecord = z.object({
  cluster: zName(clusterName),
  /** The cluster that the name stood for: a token is not good for a later one of that name. */
  uid: zName(clusterUid),
  node: zName(nodeName),
  /** Unix seconds. */
  expiresAt: z.number(),
  /** The operator who made it. */
  createdBy: z.string(),
  /** Unix seconds; absent while it is good. */
  usedAt: z.optional(z.number()),
});
export type TokenRecord = z.infer<typeof tokenRecord>;

/** Errors: those of the file system, or of backends (KmsError). */
export interface TokenStore {
  add(hash: string, record: TokenRecord, signal: AbortSignal): Promise<void>;
  /** Undefined where there is none, or none that can be read. */
  read(hash: string, signal: AbortSignal): Promise<TokenRecord | undefined>;
  /** Marks one as used. False when that was done before, also at this very moment by another replica. */
  use(hash: string, usedAt: number, signal: AbortSignal): Promise<boolean>;
}

const prefix = "clvt_";
const tokenForm = /^clvt_[A-Za-z0-9_-]{43}$/;

/** A new token: 256 random bits. A secret. */
export function newToken(): string {
  return prefix + randomBytes(32).toString("base64url");
}

/** Under what a token is stored; undefined for what is none. */
export function hashOf(token: string): string | undefined {
  return tokenForm.test(token) ? createHash("sha256").update(token).digest("hex") : undefined;
}

function parsed(value: unknown): TokenRecord | undefined {
  const result = z.safeParse(tokenRecord, value);
  return result.success ? result.data : undefined;
}

/** A file for each token. Which of two callers uses one, the file system decides: a file is renamed once. */
export async function openTokenDirectory(directory: string): Promise<TokenStore> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const fresh = (hash: string): string => join(directory, `${hash}.json`);
  const used = (hash: string): string => join(directory, `${hash}.used.json`);
  const readOne = async (file: string): Promise<TokenRecord | undefined> => {
    try {
      return parsed(parseYaml(file, await readFile(file, "utf8")));
    } catch (error) {
      if (codeOf(error) === "ENOENT") return undefined;
      throw error;
    }
  };
  return {
    add: (hash, record) => writeFile(fresh(hash), `${JSON.stringify(record)}\n`, { flag: "wx", mode: 0o600 }),
    async read(hash) {
      const found = await readOne(fresh(hash));
      if (found !== undefined) return found;
      const earlier = await readOne(used(hash));
      return earlier === undefined ? undefined : { usedAt: earlier.expiresAt, ...earlier };
    },
    async use(hash) {
      try {
        await rename(fresh(hash), used(hash));
        return true;
      } catch (error) {
        if (codeOf(error) === "ENOENT") return false;
        throw error;
      }
    },
  };
}

/** A document for each token. Which of two callers uses one, Vault's check-and-set decides. */
export function createTokenDocuments(documents: Documents, below: DocumentRef): TokenStore {
  const at = (hash: string): DocumentRef => ({ ...below, path: `${below.path}/${hash}` });
  return {
    async add(hash, record, signal) {
      if (!(await documents.writeDocument(at(hash), record, 0, signal))) throw new TypeError("a token was drawn twice");
    },
    async read(hash, signal) {
      return parsed((await documents.readDocument(at(hash), signal))?.data);
    },
    async use(hash, usedAt, signal) {
      const found = await documents.readDocument(at(hash), signal);
      const record = parsed(found?.data);
      if (found === undefined || record === undefined || record.usedAt !== undefined) return false;
      return await documents.writeDocument(at(hash), { ...record, usedAt }, found.version, signal);
    },
  };
}
