// How records are chained, so that a changed, removed, reordered or inserted line shows. Each line
// has the SHA-256 of the one before, which anybody can check. From when the fleet's integrity key is
// known each line has a MAC as well, so that nobody else can make lines anew; and what Vault has
// signed not even who has stolen the derived key can. (docs/architecture.md #audit.)
import { createHmac, hash, type KeyObject, randomUUID } from "node:crypto";
import type { AuditEntry, ChainHead, ChainPlace } from "./record.ts";

/** Where a chain stands: the place of its next record, but for the MAC. */
type Next = Omit<ChainPlace, "mac">;

/** SHA-256 of a line without its newline, hexadecimal. */
export function lineHash(line: string | Uint8Array): string {
  return hash("sha256", line, "hex");
}

/** What `mac` says of a line: its bytes up to that field, closed by a brace. Hexadecimal. */
export function lineMac(key: KeyObject, body: string | Uint8Array): string {
  return createHmac("sha256", key).update(body).digest("hex");
}

/** What Vault signs for a head. A UUID, a number and hexadecimal digits: there is one way to read it. */
export function headInput({ chain, sequence, hash: digest }: ChainHead): Uint8Array {
  return Buffer.from(`claviger/v1/audit-head\n${chain}\n${sequence}\n${digest}`);
}

/**
 * The line for an entry, with its newline, and where the chain stands after it.
 * @param key of the MAC; undefined while it is not known
 */
export function chainLine(
  next: Next,
  { at, ...entry }: AuditEntry,
  key?: KeyObject,
): { readonly line: string; readonly next: Next } {
  const body = JSON.stringify({ time: new Date(at).toISOString(), ...entry, ...next });
  const text = key === undefined ? body : `${body.slice(0, -1)},"mac":"${lineMac(key, body)}"}`;
  return { line: `${text}\n`, next: { ...next, sequence: next.sequence + 1, previous: lineHash(text) } };
}

/** The chain of one process. */
export interface Chain {
  /** The line of the next record, with its newline. Its number is used up, written or not. */
  append(entry: AuditEntry): string;
  /** The record that was appended last; undefined before the first. */
  head(): ChainHead | undefined;
}

/** @param key asked for each record; undefined while it is not known */
export function createChain(key: () => KeyObject | undefined = () => undefined): Chain {
  let next: Next = { chain: randomUUID(), sequence: 0, previous: "" };
  return {
    append(entry) {
      const chained = chainLine(next, entry, key());
      next = chained.next;
      return chained.line;
    },
    head: () =>
      next.sequence === 0 ? undefined : { chain: next.chain, sequence: next.sequence - 1, hash: next.previous },
  };
}

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** A line of a chain, read back: what it says, and what its MAC was made of. */
export type ReadLine = {
  readonly record: Omit<AuditEntry, "at"> & ChainPlace & { readonly time: string };
  readonly hash: string;
  /** The bytes that the MAC is of; undefined where the line has none. */
  readonly body: Buffer | undefined;
};

const macStart = Buffer.from(',"mac":"');
const macLength = macStart.length + 64 + '"}'.length;

function bodyOf(line: Buffer): Buffer | undefined {
  const at = line.length - macLength;
  if (at < 0 || !line.subarray(at, at + macStart.length).equals(macStart)) return undefined;
  return Buffer.concat([line.subarray(0, at), Buffer.from("}")]);
}

/**
 * Reads a line without its newline.
 * @returns `fragment` for what is no JSON object (a write that broke off leaves such), `foreign` for
 * one that is no record of a chain
 */
export function readLine(line: Buffer): ReadLine | "fragment" | "foreign" {
  let value: unknown;
  try {
    value = JSON.parse(line.toString("utf8"));
  } catch {
    return "fragment";
  }
  if (typeof value !== "object" || value === null) return "foreign";
  const record = value as ReadLine["record"];
  const { chain, sequence, previous, mac, time, method, head, earlier, missing } = record as Readonly<
    Record<string, unknown>
  >;
  const isOurs =
    typeof chain === "string" &&
    uuid.test(chain) &&
    Number.isSafeInteger(sequence) &&
    Number(sequence) >= 0 &&
    typeof previous === "string" &&
    typeof time === "string" &&
    typeof method === "string" &&
    (head === undefined || isSignedHead(head)) &&
    (earlier === undefined || (Array.isArray(earlier) && earlier.every(isHead))) &&
    (missing === undefined || (Array.isArray(missing) && missing.every(isRun)));
  if (!isOurs) return "foreign";
  const body = bodyOf(line);
  // Two fields of that name, or one elsewhere: no line of ours.
  if ((mac === undefined) !== (body === undefined)) return "foreign";
  return { record, hash: lineHash(line), body };
}

function isHead(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { chain, sequence, hash: digest } = value as Readonly<Record<string, unknown>>;
  return typeof chain === "string" && Number.isSafeInteger(sequence) && typeof digest === "string";
}

function isSignedHead(value: unknown): boolean {
  if (!isHead(value)) return false;
  const { signature, keyVersion } = value as Readonly<Record<string, unknown>>;
  return typeof signature === "string" && Number.isSafeInteger(keyVersion);
}

function isRun(value: unknown): boolean {
  return Array.isArray(value) && value.length === 2 && value.every(Number.isSafeInteger);
}
