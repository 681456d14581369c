// Tokens with which nodes enroll: a random text that is good once, for one name, for a while. Stored is its
// SHA-256 alone. (docs/architecture.md #enrollment.)
import { createHash, randomBytes } from "node:crypto";
import { z, zName, zPath } from "@claviger/proto/runtime/config.ts";
import { backendName, clusterName, clusterUid, mountPath, nodeName } from "@claviger/proto/wire/names.ts";
import type { DocumentRef, Documents } from "@claviger/gateway-core/src/backend/port.ts";
import { createOnceDocuments, openOnceDirectory, type OnceStore } from "./once-store.ts";

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
