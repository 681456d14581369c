// The settings of an audit sink. docs/reference/settings.md is generated from them.
import { z, zPath } from "@claviger/proto/runtime/config.ts";

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
]);

export type SinkConfig = z.infer<typeof sinkSchema>;
