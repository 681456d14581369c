// The newest audit records of this replica, in memory: where no sink is a file. (docs/control-plane.md #audit.)
import type { AuditLog } from "@claviger/gateway-core/src/audit/log.ts";
import type { AuditEntry } from "@claviger/gateway-core/src/audit/record.ts";
import { refuse } from "../refusal.ts";
import type { AuditRecords } from "./records.ts";

/** Some three megabytes of them. */
const most = 5000;

/** @returns an audit log that is the same, and remembers what it has taken */
export function rememberRecords(audit: AuditLog): { readonly audit: AuditLog; readonly kept: AuditRecords } {
  const newest: { readonly number: number; readonly entry: AuditEntry }[] = [];
  let count = 0;
  return {
    audit: {
      ...audit,
      async record(entry) {
        await audit.record(entry);
        newest.push({ number: (count += 1), entry });
        if (newest.length > most) newest.shift();
      },
    },
    kept: {
      file: undefined,
      page({ isWanted, isOver, size, from }) {
        if (!/^\d{0,15}$/.test(from)) throw refuse("invalid_argument", "page_token: is none of this method");
        const incomplete = `no sink is a file: the newest ${most} records since this replica was started are looked at`;
        const before = from === "" ? Number.POSITIVE_INFINITY : Number(from);
        const found: AuditEntry[] = [];
        for (const { number, entry } of newest.toReversed()) {
          if (number >= before) continue;
          if (isOver(entry)) break;
          if (isWanted(entry)) found.push(entry);
          if (found.length >= size) return Promise.resolve({ found, next: String(number), incomplete });
        }
        return Promise.resolve({ found, next: "", incomplete });
      },
    },
  };
}
