// The `redis` section of gateway.yaml. (docs/architecture.md #keys.)
import { z, zInteger, zPath } from "@claviger/proto/runtime/config.ts";

const node = z.pipe(
  z.string().check(z.regex(/^(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):\d{1,5}$/, { error: "must be HOST:PORT" })),
  z.transform((text: string) => {
    const at = text.lastIndexOf(":");
    return { host: text.slice(0, at).replace(/^\[|\]$/g, ""), port: Number(text.slice(at + 1)) };
  }),
);

const common = {
  /** The ACL user name. */
  username: z.optional(z.string()),
  /** The file of the password. */
  passwordFile: z.optional(zPath),
  /** TLS to every server, Sentinels included; without this section connections are in plain text. */
  tls: z.optional(
    z
      .strictObject({
        /** The CA certificates that the server is verified against, PEM; Node.js' own when absent. */
        ca: z.optional(zPath),
        /** The client certificate that is shown to the server, PEM. */
        cert: z.optional(zPath),
        /** The private key of `cert`, PEM. */
        key: z.optional(zPath),
        /** The name that the server's certificate must carry, where that is not the host of its address. */
        serverName: z.optional(z.string()),
      })
      .check(
        z.refine(({ cert, key }) => (cert === undefined) === (key === undefined), {
          error: "cert and key go together",
        }),
      ),
  ),
  /** Stands before every key and channel, so that fleets can share a server. */
  prefix: z._default(
    z.string().check(z.regex(/^[A-Za-z0-9_-]{1,32}$/, { error: "must be 1 to 32 letters, digits, '_' and '-'" })),
    "claviger",
  ),
};

export const redisSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    /** One Redis server. */
    kind: z.literal("standalone"),
    /** Its address. */
    node,
    /** The number of the database. */
    database: z._default(zInteger(0, 1023), 0),
    ...common,
  }),
  z.strictObject({
    /** A master that Redis Sentinel names. */
    kind: z.literal("sentinel"),
    /** The addresses of the Sentinels. */
    sentinels: z.array(node).check(z.minLength(1)),
    /** The name of the master. */
    master: z.string(),
    /** The ACL user name at the Sentinels. */
    sentinelUsername: z.optional(z.string()),
    /** The file of the password of the Sentinels; that of Redis itself is `passwordFile`. */
    sentinelPasswordFile: z.optional(zPath),
    ...common,
  }),
  z.strictObject({
    /** Redis Cluster. */
    kind: z.literal("cluster"),
    /** The addresses of some of its nodes. */
    nodes: z.array(node).check(z.minLength(1)),
    ...common,
  }),
]);

export type RedisConfig = z.infer<typeof redisSchema>;
