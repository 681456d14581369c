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
  z.strictObject({
    /** A token that another program keeps fresh, e.g. a Vault Agent sidecar. */
    kind: z.literal("token-file"),
    /** The file of the token; read again when it changes. */
    file: zPath,
  }),
  z.strictObject({
    /** A (periodic) token that the gateway renews. */
    kind: z.literal("token"),
    /** The file of the token. */
    file: zPath,
  }),
  z.strictObject({
    /** Login with an AppRole. */
    kind: z.literal("approle"),
    /** Where the auth method is mounted. */
    mount: mountDefault("approle"),
    /** The file of the role-id. */
    roleIdFile: zPath,
    /** The file of the secret-id; read again for each login. */
    secretIdFile: zPath,
    /** The secret-id file holds a response-wrapping token. */
    wrapped: z._default(z.boolean(), false),
  }),
  z.strictObject({
    /** Login with a ServiceAccount token of Kubernetes. */
    kind: z.literal("kubernetes"),
    /** Where the auth method is mounted. */
    mount: mountDefault("kubernetes"),
    /** The role to log in with. */
    role: plain,
    /** The file of the token; read again for each login. */
    jwtFile: zPath,
  }),
  z.strictObject({
    /** Login with a JWT of another issuer. */
    kind: z.literal("jwt"),
    /** Where the auth method is mounted. */
    mount: mountDefault("jwt"),
    /** The role to log in with. */
    role: plain,
    /** The file of the JWT; read again for each login. */
    jwtFile: zPath,
  }),
  z.strictObject({
    /** Login with the certificate of the backend's `tls` section. */
    kind: z.literal("cert"),
    /** Where the auth method is mounted. */
    mount: mountDefault("cert"),
    /** The role to log in with. */
    role: plain,
  }),
  z.strictObject({
    /** Login with a user name and a password. */
    kind: z.literal("userpass"),
    /** Where the auth method is mounted. */
    mount: mountDefault("userpass"),
    /** The user name. */
    username: plain,
    /** The file of the password; read again for each login. */
    passwordFile: zPath,
  }),
]);

const vault = z
  .strictObject({
    /** Transit of a Vault or OpenBao. */
    kind: z.literal("vault"),
    /** The addresses of one Vault. The first one that works is used. */
    addresses: z.array(address).check(z.minLength(1, { error: "must list at least one address" })),
    /** Where the login happens; a cluster's key may name a namespace of its own. */
    namespace: z.optional(zName(mountPath)),
    /** How Vault is verified, and what it is shown. */
    tls: z.optional(
      z.strictObject({
        /** The CA certificates that the server is verified against, PEM; Node.js' own when absent. */
        ca: z.optional(zPath),
        /** The name that the server's certificate must carry, where that is not the host of its address. */
        serverName: z.optional(plain),
        /** The client certificate that is shown to the server, PEM. */
        cert: z.optional(zPath),
        /** The private key of `cert`, PEM. */
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

const embedded = z.strictObject({
  /** Keys in a local file: for trying it out and for one small site. */
  kind: z.literal("embedded"),
  /** The file that holds the keys. Who can read it can decrypt. */
  file: zPath,
});

export const backendSchema = z.discriminatedUnion("kind", [vault, embedded]);
export type BackendConfig = z.infer<typeof backendSchema>;
export type VaultConfig = z.infer<typeof vault>;
export type AuthConfig = z.infer<typeof auth>;
