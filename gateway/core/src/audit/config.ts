// The settings of an audit sink. docs/reference/settings.md is generated from them.
import { z, zInteger, zPath } from "@claviger/proto/runtime/config.ts";

const node = z.pipe(
  z.string().check(z.regex(/^(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):\d{1,5}$/, { error: "must be HOST:PORT" })),
  z.transform((text: string) => {
    const at = text.lastIndexOf(":");
    return { host: text.slice(0, at).replace(/^\[|\]$/g, ""), port: Number(text.slice(at + 1)) };
  }),
);

const facility = z._default(zInteger(0, 23), 13);

/** One of `audit.sinks`. */
export const sinkSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    /** Records are appended to a file. */
    kind: z.literal("file"),
    /** The file that records are appended to. It is opened again after a rename. */
    path: zPath,
    /** Whether each write reaches the disk before the call is answered. */
    fsync: z._default(z.boolean(), false),
  }),
  z.strictObject({
    /** Records go to standard output. */
    kind: z.literal("stdout"),
  }),
  z.strictObject({
    /** Records go to a syslog collector over TLS (RFC 5424, RFC 5425). */
    kind: z.literal("syslog"),
    /** The address of the collector. */
    node,
    /** The CA certificates that the collector is verified against, PEM; Node.js' own when absent. Read for each connection. */
    ca: z.optional(zPath),
    /** The gateway's certificate for the collector, PEM, where that wants one. Read for each connection. */
    cert: z.optional(zPath),
    /** The private key of `cert`, PEM. */
    key: z.optional(zPath),
    /** The name that the collector's certificate must carry, where that is not the host of its address. */
    serverName: z.optional(z.string()),
    /** The facility of the messages (RFC 5424 section 6.2.1); 13 is "log audit". */
    facility,
  }),
  z.strictObject({
    /** Records go to a syslog collector's unix stream socket, in the same form. */
    kind: z.literal("syslog-socket"),
    /** The socket. */
    path: zPath,
    /** The facility of the messages. */
    facility,
  }),
]);

export type SinkConfig = z.infer<typeof sinkSchema>;

export type SyslogConfig = Extract<SinkConfig, { readonly kind: "syslog" | "syslog-socket" }>;
