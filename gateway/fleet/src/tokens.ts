// Tokens with which nodes enroll: a random text that is good once, for one name, for a while. Stored is its
// SHA-256 alone. (docs/architecture.md #enrollment.)
import { createHash, randomBytes } from "node:crypto";
import { z, zName } from "@claviger/proto/runtime/config.ts";
import { clusterName, clusterUid, nodeName } from "@claviger/proto/wire/names.ts";
import type { DocumentRef, Documents } from "@claviger/gateway-core/src/backend/port.ts";
import { createOnceDocuments, openOnceDirectory, type OnceStore } from "./once-store.ts";

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

export type TokenStore = OnceStore<TokenRecord>;

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

/** For one replica. */
export function openTokenDirectory(directory: string): Promise<TokenStore> {
  return openOnceDirectory(directory, parsed);
}

/** For several replicas. */
export function createTokenDocuments(documents: Documents, below: DocumentRef): TokenStore {
  return createOnceDocuments(documents, below, parsed);
}
