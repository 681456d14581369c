// How a backend is configured. A backend's name is logical and for life; what stands here may
// change behind it. (docs/architecture.md #registry and #vault.)
import { z, zName, zPath } from "@claviger/proto/runtime/config.ts";
import { mountPath } from "@claviger/proto/wire/names.ts";

const address = z.string().check(
  z.refine(
    (text) => {
      if (!URL.canParse(text)) return false;
      const url = new URL(text);
      return (
        /^https?:$/.test(url.protocol) &&
        url.username === "" &&
        url.password === "" &&
        url.pathname === "/" &&
        url.search === "" &&
        url.hash === ""
      );
    },
    { error: "must be http://HOST:PORT or https://HOST:PORT, without a path and without credentials" },
  ),
);

function mountDefault(name: string) {
  return z._default(zName(mountPath), mountPath.parse(name));
}
const plain = z
  .string()
  .check(z.regex(/^[\w.@/:-]{1,256}$/, { error: "must be 1 to 256 letters, digits and '_.@/:-'" }));

const auth = z.discriminatedUnion("kind", [
  /**
   * A token that somebody else keeps fresh, e.g. a Vault Agent sidecar: read again when the file
   * changes.
   */
  z.strictObject({ kind: z.literal("token-file"), file: zPath }),
  /** A (periodic) token that the gateway renews. */
  z.strictObject({ kind: z.literal("token"), file: zPath }),
  z.strictObject({
    kind: z.literal("approle"),
    mount: mountDefault("approle"),
    roleIdFile: zPath,
    secretIdFile: zPath,
    /** The secret-id file holds a response-wrapping token. */
    wrapped: z._default(z.boolean(), false),
  }),
  z.strictObject({ kind: z.literal("kubernetes"), mount: mountDefault("kubernetes"), role: plain, jwtFile: zPath }),
  z.strictObject({ kind: z.literal("jwt"), mount: mountDefault("jwt"), role: plain, jwtFile: zPath }),
  z.strictObject({ kind: z.literal("cert"), mount: mountDefault("cert"), role: plain }),
  z.strictObject({
    kind: z.literal("userpass"),
    mount: mountDefault("userpass"),
    username: plain,
    passwordFile: zPath,
  }),
]);

const vault = z
  .strictObject({
    kind: z.literal("vault"),
    addresses: z.array(address).check(z.minLength(1, { error: "must list at least one address" })),
    /** Where the login happens; a cluster's key may name a namespace of its own. */
    namespace: z.optional(zName(mountPath)),
    tls: z.optional(
      z.strictObject({
        ca: z.optional(zPath),
        serverName: z.optional(plain),
        cert: z.optional(zPath),
        key: z.optional(zPath),
      }),
    ),
    auth,
  })
  .check(
    z.refine(({ tls }) => (tls?.cert === undefined) === (tls?.key === undefined), {
      error: "tls: cert and key go together",
    }),
    z.refine(({ auth: { kind }, tls }) => kind !== "cert" || tls?.cert !== undefined, {
      error: "auth kind cert needs tls.cert and tls.key",
    }),
  );

const embedded = z.strictObject({ kind: z.literal("embedded"), file: zPath });

export const backendSchema = z.discriminatedUnion("kind", [vault, embedded]);
export type BackendConfig = z.infer<typeof backendSchema>;
export type VaultConfig = z.infer<typeof vault>;
export type AuthConfig = z.infer<typeof auth>;
