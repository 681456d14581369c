// Which audit records somebody asks for, and how they are printed.
import { readLine } from "@claviger/gateway-core/src/audit/chain.ts";
import type { AuditEntry, CallEntry } from "@claviger/gateway-core/src/audit/record.ts";
import { parseDuration } from "@claviger/proto/runtime/duration.ts";
import { type Command, InvalidArgumentError, Option } from "../commander.ts";

export type FilterOptions = {
  readonly cluster?: string;
  readonly node?: string;
  readonly outcome?: string;
  readonly reason?: string;
  readonly keyId?: string;
  readonly serial?: string;
  readonly operator?: string;
  readonly method?: string;
  /** Unix milliseconds. */
  readonly since?: number;
  readonly until?: number;
  readonly output: "table" | "json";
};

/** A line of the file and what it says. */
export type Found = {
  readonly text: string;
  /** Of the line: the same for no other record. */
  readonly hash: string;
  readonly record: Omit<AuditEntry, "at"> & { readonly time: string };
};

/** A time, or how long ago. Unix milliseconds. */
function parseTime(text: string): number {
  const ago = parseDuration(text);
  // Date.parse takes much else, and guesses.
  const at = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d))?$/.test(text)
    ? Date.parse(text)
    : Number.NaN;
  if (ago !== undefined) return Date.now() - ago;
  if (Number.isNaN(at))
    throw new InvalidArgumentError(
      "Must be a time such as 2026-01-31 or 2026-01-31T12:00:00Z, or a duration such as 1h.",
    );
  return at;
}

/** Adds the options that say which records. */
export function filterOptions(command: Command): Command {
  return command
    .option("--cluster <name>", "of this cluster; of the control plane: about it")
    .option("--node <name>", "of this node; of the control plane: about it")
    .option("--operator <name>", "of the control plane: by this operator, or asked for by them")
    .option("--method <name>", "of this method, such as decrypt or revokeNode")
    .addOption(new Option("--outcome <outcome>", "with this outcome").choices(["ok", "denied", "invalid", "failed"]))
    .option("--reason <reason>", "with this reason of the error table")
    .option("--key-id <key_id>", "served under, or presenting, this key_id")
    .option("--serial <hex>", "of the client certificate with this serial number")
    .option("--since <time>", "from this time on (ISO 8601, or a duration: so long ago)", parseTime)
    .option("--until <time>", "up to this time, likewise", parseTime)
    .addOption(new Option("-o, --output <form>", "how to print").choices(["table", "json"]).default("table"));
}

/** Serial numbers with or without colons and zeros in front. */
function plainSerial(text: string): string {
  return text
    .toLowerCase()
    .replaceAll(":", "")
    .replace(/^0+(?=.)/, "");
}

/** What a call of the control plane is about: clusters, or one and its node. */
function targetOf({ target = "" }: Found["record"]): {
  readonly clusters: readonly string[];
  readonly node: string | undefined;
} {
  const [clusters = "", node] = target.split("/");
  return { clusters: clusters.split(","), node };
}

/**
 * Is the record one of those? A batch is when one of its calls is: outcome, reason and key_id must be
 * of the same call.
 */
export function isAskedFor({ record }: Found, options: FilterOptions): boolean {
  const { cluster, node, operator, requestedBy, method, serial, time } = record;
  const at = Date.parse(time);
  const target = targetOf(record);
  const is = (wanted: string | undefined, ...values: readonly (string | undefined)[]): boolean =>
    wanted === undefined || values.includes(wanted);
  if (!is(options.cluster, cluster, ...target.clusters) || !is(options.node, node, target.node)) return false;
  if (!is(options.operator, operator, requestedBy) || !is(options.method, method)) return false;
  if (options.serial !== undefined && plainSerial(options.serial) !== plainSerial(serial ?? "")) return false;
  if (at < (options.since ?? at) || at > (options.until ?? at)) return false;
  return [record, ...(record.calls ?? [])].some(
    (call: CallEntry) =>
      (options.outcome ?? call.outcome) === call.outcome &&
      (options.reason ?? call.reason) === call.reason &&
      (options.keyId ?? call.keyId) === call.keyId,
  );
}

/** A line of a file; undefined for what is no record. */
export function parseFound(bytes: Buffer): Found | undefined {
  const line = readLine(bytes);
  return typeof line === "string" ? undefined : { text: bytes.toString("utf8"), hash: line.hash, record: line.record };
}

const columns = ["TIME", "METHOD", "CLUSTER", "NODE", "OUTCOME", "REASON", "KEY_ID", "MS"] as const;
// Wide enough for most; what is longer pushes the rest of its line.
const widths = [24, 12, 20, 16, 7, 24, 12, 0] as const;
/** Of a key_id: enough to tell two apart. */
const keyIdLength = 12;

function lineOf(cells: readonly string[]): string {
  return cells
    .map((cell, i) => cell.padEnd(widths[i] ?? 0))
    .join("  ")
    .trimEnd();
}

/** The head of the table. Columns are of fixed width: rows are printed as they are found. */
export const tableHead = lineOf(columns);

// What stands in a file may be anything; a terminal is not to obey it.
function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, "?");
}

/** One record as a row of the table. */
export function tableRow({ record }: Found): string {
  const { time, method, cluster, target, node, operator, outcome, reason, keyId, milliseconds, count, calls } = record;
  const times = calls?.length ?? count;
  return lineOf(
    [
      time,
      times === undefined ? method : `${method}×${times}`,
      cluster ?? target ?? "-",
      node ?? operator ?? "-",
      outcome,
      reason ?? "-",
      (keyId ?? calls?.find((call) => call.keyId !== undefined)?.keyId ?? "-").slice(0, keyIdLength),
      String(milliseconds),
    ].map(printable),
  );
}
