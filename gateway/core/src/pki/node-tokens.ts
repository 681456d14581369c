// Where the fleet service keeps the tokens with which nodes enroll.
import { z, zName, zPath } from "@claviger/proto/runtime/config.ts";
import { backendName, mountPath } from "@claviger/proto/wire/names.ts";

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
