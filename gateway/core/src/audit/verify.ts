// Verifies audit records, file after file in the order in which they were written: each line as it
// was written, in its place, and none missing. What a crash or a rotation leaves behind is no sign of
// tampering. (docs/architecture.md #audit.)
import { type KeyObject, timingSafeEqual } from "node:crypto";
import { headInput, lineMac, type ReadLine, readLine } from "./chain.ts";
import { type ChainSummary, createFindings, type Place, type Report } from "./findings.ts";
import type { ChainHead } from "./record.ts";
import { type ChainVerifier, createChainVerifier, type Verdict } from "./verify-chain.ts";

export type VerifyKeys = {
  /**
   * The key of the MACs under a version of the integrity key; without one, under that of now.
   * Undefined: there is none to be had, and MACs are not checked.
   */
  readonly key: (version: number | undefined) => Promise<KeyObject | undefined>;
  /** Vault's HMAC of these bytes, undefined when it has no such version. Absent: Vault is not asked. */
  readonly sign: ((input: Uint8Array, version: number) => Promise<Uint8Array | undefined>) | undefined;
};

export interface Verifier {
  /** The next line, without its newline. */
  line(place: Place, bytes: Buffer): Promise<void>;
  /** @param cut the file is compressed, and cannot be read to its end */
  endOfFile(place: Place, cut?: string): void;
  /** To be called once, after the last file. */
  finish(): Promise<Report>;
}

/** Heads that are checked with Vault at a time. */
const atOnce = 16;
/** Heads are signed each minute; a time like this without one is worth asking about, in milliseconds. */
const unsignedMs = 300_000;

type Chain = ChainVerifier & { readonly key: KeyObject | undefined };

function isSame(given: string, wanted: string): boolean {
  const [a, b] = [Buffer.from(given, "hex"), Buffer.from(wanted, "hex")];
  return a.length === b.length && timingSafeEqual(a, b);
}

function verdictOf({ record, body }: ReadLine, key: KeyObject | undefined): Verdict {
  if (body === undefined) return "none";
  if (key === undefined) return "unchecked";
  return isSame(record.mac ?? "", lineMac(key, body)) ? "good" : "bad";
}

export function createVerifier({ key, sign }: VerifyKeys): Verifier {
  const found = createFindings();
  const chains = new Map<string, Chain>();
  let lines = 0;
  let fragment: Place | undefined;
  /** Nothing but repeated lines so far in this file. */
  let isPrefix = true;
  let newest: Chain | undefined;

  const endOfPrefix = (): void => {
    if (isPrefix) for (const chain of chains.values()) chain.endOfRepeats();
    isPrefix = false;
  };
  /** A chain names what stood in its file before it: is that there, to its end? */
  const checkEarlier = (earlier: readonly ChainHead[], place: Place): void => {
    const wrong = earlier.map((head) => {
      const before = chains.get(head.chain);
      if (before === undefined) return { head, before };
      const { sequence } = before.last();
      const isThere = sequence >= head.sequence && (before.hashOf(head.sequence) ?? head.hash) === head.hash;
      return isThere ? undefined : { head, before };
    });
    // Sinks may differ in what they hold: one that fits is the one of these files.
    const [first] = wrong;
    if (wrong.includes(undefined) || first === undefined) return;
    const { head, before } = wrong.find((one) => one?.before !== undefined) ?? first;
    const at = { chain: head.chain, last: head.sequence };
    if (before === undefined && newest === undefined)
      found.remark({ ...place, text: `record ${head.sequence} of chain ${head.chain} stood before: it is not here` });
    else if (before === undefined)
      found.find({ ...place, ...at, kind: "removed", text: "stood before this line: its whole chain is missing" });
    else if (before.last().sequence < head.sequence)
      found.find({
        ...before.last().place,
        ...at,
        kind: "truncated",
        first: before.last().sequence + 1,
        text: `are missing after this line: ${place.file}:${place.line} names the end of the chain`,
      });
    else
      found.find({
        ...before.last().place,
        ...at,
        first: head.sequence,
        kind: "edited",
        text: "is not what a later record names",
      });
  };
  const add = async (line: ReadLine, place: Place): Promise<void> => {
    const { chain: name, method, keyVersion, earlier } = line.record;
    let chain = chains.get(name);
    const isNew = chain === undefined;
    if (chain === undefined) {
      // What names a version that does not exist is checked under the one that does.
      const own = (method === "chainStart" ? await key(keyVersion) : undefined) ?? (await key(undefined));
      chain = Object.assign(createChainVerifier(name, found), { key: own });
    }
    const verdict = verdictOf(line, chain.key);
    if (isNew && verdict === "bad") {
      found.find({ ...place, kind: "inserted", text: "begins a chain of its own, and no gateway has written it" });
      endOfPrefix();
      return;
    }
    if (isNew) chains.set(name, chain);
    if (isNew && method === "chainStart" && earlier !== undefined) checkEarlier(earlier, place);
    const mayRepeat = isPrefix && !isNew;
    const last = chain.last();
    if (mayRepeat && line.record.sequence === last.sequence + 1) endOfPrefix();
    const isRepeat = chain.add(line, place, verdict, newest === undefined, mayRepeat);
    if (!isRepeat) endOfPrefix();
    newest = chain;
    judgeFragment(line, last.sequence + 1 === line.record.sequence && !isNew);
  };
  /** A write that broke off is followed by a gap, by another chain, or by nothing. */
  const judgeFragment = (next: ReadLine | undefined, isContinued: boolean): void => {
    if (fragment === undefined) return;
    if (isContinued && next !== undefined)
      found.find({ ...fragment, kind: "inserted", text: "is no record, and no record is missing here" });
    else found.remark({ ...fragment, text: "a record that was not written to its end" });
    fragment = undefined;
  };
  const checkHeads = async (): Promise<ReadonlyMap<string, { readonly sequence: number; readonly time: string }>> => {
    const signed = new Map<string, { readonly sequence: number; readonly time: string }>();
    const all = [...chains.values()].flatMap(({ heads }) => heads);
    for (let at = 0; at < all.length; at += atOnce) {
      const some = all.slice(at, at + atOnce);
      const signatures = await Promise.all(
        some.map(async ({ head }) => await sign?.(headInput(head), head.keyVersion)),
      );
      for (const [i, { head, time, ...place }] of some.entries()) {
        const signature = signatures[i];
        if (signature === undefined) continue;
        const about = { ...place, chain: head.chain, first: head.sequence, last: head.sequence };
        if (isSame(head.signature, Buffer.from(signature).toString("hex")))
          signed.set(head.chain, { sequence: head.sequence, time });
        else
          found.find({
            ...about,
            kind: "unsigned",
            text: "is named here as signed, and Vault has not signed it like this",
          });
      }
    }
    return signed;
  };

  return {
    async line(place, bytes) {
      // A write that broke off before its first byte leaves an empty line.
      if (bytes.length === 0) return;
      lines += 1;
      const read = readLine(bytes);
      if (typeof read === "object") return await add(read, place);
      if (read === "foreign") {
        found.find({ ...place, kind: "inserted", text: "is no audit record" });
        endOfPrefix();
        return;
      }
      judgeFragment(undefined, false);
      fragment = place;
      return;
    },
    endOfFile(place, cut) {
      judgeFragment(undefined, false);
      endOfPrefix();
      isPrefix = true;
      if (cut !== undefined) found.find({ ...place, kind: "truncated", text: cut });
    },
    async finish() {
      for (const chain of chains.values()) chain.finish();
      const signed = await checkHeads();
      const summaries = [...chains.values()].map((chain) => {
        const summary = chain.summary();
        return { ...summary, signed: signed.get(summary.chain) };
      });
      return {
        records: lines,
        findings: found.findings,
        more: found.more(),
        remarks: found.remarks,
        unchecked: [...chains.values()].flatMap((chain, i) => uncheckedOf(chain, summaries[i], sign !== undefined)),
        chains: summaries,
      };
    },
  };
}

/** What nobody could check of a chain. */
function uncheckedOf(chain: Chain, summary: ChainSummary | undefined, isAsked: boolean): readonly string[] {
  if (summary === undefined) return [];
  const { keyed, records, signed, until, from } = summary;
  const name = `chain ${summary.chain}`;
  if (keyed === 0)
    return [`${name}: its ${records} records have no MAC; who can write to the file can have made all of them anew`];
  if (chain.key === undefined)
    return [`${name}: the MACs of ${keyed} records and ${chain.heads.length} signed heads, without the integrity key`];
  if (!isAsked) return [`${name}: ${chain.heads.length} signed heads, without Vault`];
  const unsigned = Date.parse(until) - Date.parse(signed?.time ?? from);
  return unsigned > unsignedMs
    ? [
        `${name}: Vault has signed nothing of it after ${signed?.time ?? "its beginning"}, and it goes on until ${until}`,
      ]
    : [];
}
