// Settings of the two-person rule.
import { z, zDuration, zName, zPath } from "@claviger/proto/runtime/config.ts";
import { backendName, mountPath } from "@claviger/proto/wire/names.ts";
import { kinds } from "./kinds.ts";

const approvalsSchema = z.strictObject({
  /**
   * What takes a second administrator, by what it does to a cluster whatever the method: `resume` (serve again, also
   * for Decrypt alone), `allow-node` (take a revocation back), `expect-node` (take further nodes),
   * `remove-cluster`, `retire-key` (an earlier key version decrypts nothing any more), `unretire-key` (it does again).
   */
  methods: z.array(z.enum(kinds)).check(z.minLength(1, { error: "must list at least one" })),
  /** How long a change waits for the second administrator. */
  ttl: z._default(zDuration("1m", "168h"), 86_400_000),
  /** How long approvals are kept after they were asked for, decided or not: then they are deleted. Audit records stay. */
  keep: z._default(zDuration("168h", "87600h"), 90 * 86_400_000),
  /** Where changes wait. */
  store: z.discriminatedUnion("kind", [
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
      /** The path that they are below. */
      path: z._default(zName(mountPath), mountPath.parse("approvals")),
    }),
  ]),
  /**
   * People who come under several names, each with all of their names: one of them does not approve what another
   * one asked for.
   */
  people: z._default(z.record(z.string(), z.array(z.string()).check(z.minLength(2))), {}),
});

export const approvalSettings = z.strictObject({
  /** What takes a second administrator, and where it waits for one. Absent: nothing does. */
  approvals: z.optional(approvalsSchema),
});

export type ApprovalsConfig = z.infer<typeof approvalsSchema>;
