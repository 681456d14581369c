// A change that waits for a second administrator, as it is kept. Its id is made of what it asks for: one that was
// altered in the store has another.
import { hash, randomBytes } from "node:crypto";
import { z, zName } from "@claviger/proto/runtime/config.ts";
import { clusterName, clusterUid, operatorName, tokenOperatorName } from "@claviger/proto/wire/names.ts";
import { type ClusterRecord, recordDigest } from "@claviger/gateway-core/src/registry/record.ts";
import type { OnceStore } from "../once-store.ts";
import { kinds } from "./kinds.ts";

/** A record as it was when the change was asked for. */
const target = z.object({
  cluster: zName(clusterName),
  uid: zName(clusterUid),
  generation: z.number(),
  /** SHA-256 of all its fields, hexadecimal. */
  digest: z.string(),
});
export type Target = z.infer<typeof target>;

const asked = z.object({
  kinds: z.array(z.enum(kinds)),
  method: z.string(),
  /** The request, as JSON. */
  request: z.string(),
  targets: z.array(target),
  requestedBy: z.union([zName(operatorName), zName(tokenOperatorName)]),
  /** Of a token that gave the role by them. */
  groups: z.optional(z.array(z.string())),
  reason: z.string(),
  /** Unix seconds. */
  askedAt: z.number(),
  expiresAt: z.number(),
  nonce: z.string(),
});
export type Asked = z.infer<typeof asked>;

const decisions = ["approved", "rejected"] as const;

const pending = z.extend(asked, {
  usedAt: z.optional(z.number()),
  decision: z.optional(z.enum(decisions)),
  decidedBy: z.optional(z.string()),
  /** Of an approved one: whether the change was made. */
  isDone: z.optional(z.boolean()),
  /** Why it was rejected, or why the change failed. */
  note: z.optional(z.string()),
});
export type Pending = z.infer<typeof pending>;

export type ApprovalStore = OnceStore<Pending>;
export type State = "pending" | "approved" | "rejected" | "expired" | "failed";

export function parsePending(value: unknown): Pending | undefined {
  const result = z.safeParse(pending, value);
  return result.success ? result.data : undefined;
}

export function targetOf(record: ClusterRecord): Target {
  const { name: cluster, uid, generation } = record;
  return { cluster, uid, generation, digest: recordDigest(record).toString("hex") };
}

const idForm = /^[0-9a-z]{7}-[0-9a-f]{26}$/;

export function isApprovalId(text: string): boolean {
  return idForm.test(text);
}

/** Sorts by time. @param seconds Unix */
function timePart(seconds: number): string {
  return seconds.toString(36).padStart(7, "0");
}

/** When the change of an id was asked for, Unix seconds. */
export function timeOf(id: string): number {
  return Number.parseInt(id.slice(0, 7), 36);
}

export function idOf(given: Asked): string {
  const fields = asked.parse(given);
  const text = JSON.stringify(Object.keys(asked.shape).map((name) => fields[name as keyof Asked]));
  return `${timePart(given.askedAt)}-${hash("sha256", text, "hex").slice(0, 26)}`;
}

export function newNonce(): string {
  return randomBytes(16).toString("hex");
}

/** @param seconds Unix: now */
export function stateOf({ decision, isDone, expiresAt }: Pending, seconds: number): State {
  if (decision === "rejected") return "rejected";
  // Approved and not said to be done: it failed, or the service ended meanwhile.
  if (decision === "approved") return isDone === true ? "approved" : "failed";
  return expiresAt <= seconds ? "expired" : "pending";
}
