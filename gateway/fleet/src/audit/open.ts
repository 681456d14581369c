// Where operators find the audit records of this replica: in the first sink that is a file, or in memory.
import type { AuditLog } from "@claviger/gateway-core/src/audit/log.ts";
import type { SinkConfig } from "@claviger/gateway-core/src/audit/config.ts";
import type { VerifyKeys } from "@claviger/gateway-core/src/audit/verify.ts";
import { createFileRecords } from "./file-records.ts";
import { rememberRecords } from "./memory-records.ts";
import type { AuditRecords } from "./records.ts";
import { createVerifying, noVerifyKeys, type Verifying } from "./verification.ts";

/**
 * @param keys undefined where there is no integrity key
 * @returns the log that records go to from now on
 */
export function openAuditRecords(
  audit: AuditLog,
  sinks: readonly SinkConfig[],
  keys: VerifyKeys | undefined,
): { readonly audit: AuditLog; readonly kept: AuditRecords; readonly verifying?: Verifying } {
  const file = sinks.find((sink) => sink.kind === "file")?.path;
  if (file === undefined) return rememberRecords(audit);
  return { audit, kept: createFileRecords(file), verifying: createVerifying(file, keys ?? noVerifyKeys) };
}
