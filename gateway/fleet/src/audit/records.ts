// The port to the audit records of this replica, as operators may look at them: newest first. Adapters: the file of
// a sink, and what is in memory where no sink is a file. (docs/control-plane.md #audit.)
import type { AuditEntry, ChainPlace } from "@claviger/gateway-core/src/audit/record.ts";

/** A record, and where it stands in its chain where that is known. */
export type Found = AuditEntry & Partial<ChainPlace>;

export type Wanted = {
  readonly isWanted: (found: Found) => boolean;
  /** Nothing that is older is wanted. */
  readonly isOver: (found: Found) => boolean;
  readonly size: number;
  /** Where the page before ended; empty for the newest. */
  readonly from: string;
};

export type Page = {
  readonly found: readonly Found[];
  /** Where to go on; empty where there is nothing more. */
  readonly next: string;
  /** What was not looked at; empty where nothing is. */
  readonly incomplete: string;
};

export interface AuditRecords {
  /** Undefined where records are in no file that can be read. */
  readonly file: string | undefined;
  /** @throws Refusal where the page before is not there any more */
  page(wanted: Wanted): Promise<Page>;
}
