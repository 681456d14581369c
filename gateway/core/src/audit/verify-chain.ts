// One chain of records, verified line by line: each number once, in order, with the hash of the one
// before. (docs/architecture.md #audit.)
import type { ReadLine } from "./chain.ts";
import type { ChainSummary, Finding, Findings, Place } from "./findings.ts";
import type { SignedHead } from "./record.ts";

/** What the MAC of a line says; `none`: it has none; `unchecked`: there is no key to check it. */
export type Verdict = "good" | "bad" | "none" | "unchecked";

type Last = {
  readonly sequence: number;
  readonly hash: string;
  readonly place: Place;
  readonly time: string;
  readonly verdict: Verdict;
};

type Gap = { first: number; readonly last: number; readonly place: Place };

/** How far back a line is known by its hash: more than a file is repeated with after a truncation. */
const known = 65_536;

export type ChainVerifier = {
  /**
   * Takes the next line of the chain.
   * @param isFirst it is the first line of all, so what stood before may be in an earlier file
   * @param mayRepeat it stands at the beginning of a file, after nothing but repeated lines
   * @returns whether it repeats what stands at the end of the file before
   */
  add(line: ReadLine, place: Place, verdict: Verdict, isFirst: boolean, mayRepeat: boolean): boolean;
  /** Closes a run of repeated lines at the beginning of a file. */
  endOfRepeats(): void;
  /** The highest record so far. */
  last(): Pick<Last, "sequence" | "hash" | "place">;
  hashOf(sequence: number): string | undefined;
  /** Heads that the chain's records name, and where. */
  readonly heads: readonly (Place & { readonly head: SignedHead; readonly time: string })[];
  /** Reports what is missing. */
  finish(): void;
  readonly isEnded: () => boolean;
  summary(): Omit<ChainSummary, "signed">;
};

export function createChainVerifier(chain: string, findings: Findings): ChainVerifier {
  const hashes = new Map<number, string>();
  const forged = new Map<number, Finding>();
  const excused: (readonly [number, number])[] = [];
  const heads: (Place & { readonly head: SignedHead; readonly time: string })[] = [];
  let gaps: Gap[] = [];
  let first: Last | undefined;
  let last: Last | undefined;
  let repeats: { readonly first: number; next: number; readonly place: Place } | undefined;
  let [records, keyed, isEnded] = [0, 0, false];
  let replica: string | undefined;

  const advance = ({ record, hash }: ReadLine, place: Place, verdict: Verdict): void => {
    last = { sequence: record.sequence, hash, place, time: record.time, verdict };
    first ??= last;
    hashes.set(record.sequence, hash);
    hashes.delete(record.sequence - known);
    records += 1;
    if (verdict === "good" || verdict === "unchecked") keyed += 1;
  };
  const addHead = (head: SignedHead, at: Place & { readonly time: string }): void => {
    const { sequence, hash } = head;
    if ((hashes.get(sequence) ?? hash) === hash) heads.push({ ...at, head });
    else
      findings.find({
        file: at.file,
        line: at.line,
        kind: "edited",
        chain,
        first: sequence,
        last: sequence,
        text: "or one before it is not what Vault has signed, by what this line says: they were made anew",
      });
  };
  const takeWord = ({ record }: ReadLine, place: Place): void => {
    if (record.missing !== undefined) excused.push(...record.missing);
    if (record.method === "chainStart") replica = record.replica;
    if (record.head !== undefined) addHead(record.head, { ...place, time: record.time });
    if (record.method === "chainEnd") isEnded = true;
  };
  /** Is it a line that stands before, or what one there was before it was edited? */
  const isKnown = ({ record: { sequence }, hash }: ReadLine, verdict: Verdict): boolean =>
    hashes.get(sequence) === hash || (verdict === "good" && forged.has(sequence));
  /** A line that no gateway has written like this. */
  const addForged = (line: ReadLine, place: Place, text: string): void => {
    const { sequence } = line.record;
    const isInPlace = last === undefined || sequence === last.sequence + 1;
    const finding = findings.find({
      ...place,
      kind: isInPlace ? "edited" : "inserted",
      chain,
      first: sequence,
      last: sequence,
      text,
    });
    if (!isInPlace) return;
    forged.set(sequence, finding);
    advance(line, place, "bad");
  };
  /** A line whose number is not higher than the one before. */
  const addLate = (line: ReadLine, place: Place, at: number, verdict: Verdict): void => {
    const { sequence } = line.record;
    const about = { ...place, chain, first: sequence };
    const gap = gaps.find((one) => one.first <= sequence && sequence <= one.last);
    const counterfeit = forged.get(sequence);
    if (hashes.get(sequence) === line.hash) {
      findings.findNext({ ...about, kind: "repeated", text: `stands after ${at} once more` });
    } else if (counterfeit !== undefined) {
      // The genuine line follows: what stands before it was not edited but put there.
      counterfeit.kind = "inserted";
      forged.delete(sequence);
      hashes.set(sequence, line.hash);
      if (last?.sequence === sequence) last = { ...last, hash: line.hash, verdict };
    } else if (gap !== undefined) {
      findings.findNext({ ...about, kind: "reordered", text: `stands after ${at}` });
      gaps = gaps.flatMap((one) =>
        one === gap
          ? [
              { ...one, last: sequence - 1 },
              { ...one, first: sequence + 1 },
            ].filter((part) => part.first <= part.last)
          : [one],
      );
      hashes.set(sequence, line.hash);
      takeWord(line, place);
    } else if (hashes.has(sequence)) {
      findings.find({ ...about, last: sequence, kind: "inserted", text: "has a number that stands before already" });
    } else {
      findings.findNext({ ...about, kind: "reordered", text: `stands after ${at}, far behind its place` });
    }
  };
  const addNext = (line: ReadLine, place: Place, verdict: Verdict, before: Last): void => {
    if (before.verdict !== "bad" && line.record.previous !== before.hash) {
      // A MAC that is good vouches for its line, so it is the other one that was changed.
      const [at, sequence] =
        before.verdict === "good" ? [place, line.record.sequence] : [before.place, before.sequence];
      findings.find({
        ...at,
        kind: "edited",
        chain,
        first: sequence,
        last: sequence,
        text: "is not what the line after it was chained to",
      });
    }
    advance(line, place, verdict);
    takeWord(line, place);
  };

  return {
    heads,
    add(line, place, verdict, isFirst, mayRepeat) {
      const { sequence, previous } = line.record;
      if (verdict === "bad") {
        addForged(line, place, "is not what a gateway has written: its MAC is wrong");
      } else if (verdict === "none" && keyed > 0 && hashes.get(sequence) !== line.hash) {
        addForged(line, place, "has no MAC, and records before it have one");
      } else if (last === undefined) {
        if (sequence > 0 && isFirst)
          findings.remark({
            ...place,
            text: `chain ${chain} begins with record ${sequence}: the ones before are not here`,
          });
        else if (sequence > 0) gaps.push({ first: 0, last: sequence - 1, place });
        else if (previous !== "")
          findings.find({
            ...place,
            kind: "edited",
            chain,
            first: 0,
            last: 0,
            text: "is the first and names one before",
          });
        advance(line, place, verdict);
        takeWord(line, place);
      } else if (mayRepeat && isKnown(line, verdict) && (repeats?.next ?? sequence) === sequence) {
        // Where it was edited before, this is what it was.
        hashes.set(sequence, line.hash);
        forged.delete(sequence);
        repeats = { first: repeats?.first ?? sequence, next: sequence + 1, place: repeats?.place ?? place };
        return true;
      } else if (sequence <= last.sequence) {
        addLate(line, place, last.sequence, verdict);
      } else {
        if (sequence > last.sequence + 1) {
          gaps.push({ first: last.sequence + 1, last: sequence - 1, place });
          advance(line, place, verdict);
          takeWord(line, place);
        } else addNext(line, place, verdict, last);
      }
      return false;
    },
    endOfRepeats() {
      if (repeats === undefined) return;
      const { first: from, next, place: begin } = repeats;
      repeats = undefined;
      if (next - 1 === last?.sequence)
        findings.remark({
          ...begin,
          text: `${next - 1 === from ? `record ${from} stands` : `records ${from} to ${next - 1} stand`} at the end of the file before as well: it was rotated while they were written`,
        });
      else
        findings.find({ ...begin, kind: "repeated", chain, first: from, last: next - 1, text: "stand here once more" });
    },
    last: () => last ?? { sequence: -1, hash: "", place: { file: "", line: 0 } },
    hashOf: (sequence) => hashes.get(sequence),
    finish() {
      for (const gap of gaps)
        for (const [from, to] of without(gap.first, gap.last, excused))
          findings.find({
            ...gap.place,
            kind: "removed",
            chain,
            first: from,
            last: to,
            text: "missing before this line, and no record says that a sink missed them",
          });
    },
    isEnded: () => isEnded,
    summary: () => ({
      chain,
      replica,
      records,
      first: first?.sequence ?? 0,
      last: last?.sequence ?? 0,
      from: first?.time ?? "",
      until: last?.time ?? "",
      isEnded,
      keyed,
    }),
  };
}

/** A run of numbers without those that are in other runs. */
function without(
  first: number,
  last: number,
  runs: readonly (readonly [number, number])[],
): readonly (readonly [number, number])[] {
  let left: (readonly [number, number])[] = [[first, last]];
  for (const [from, to] of runs)
    left = left.flatMap(([a, b]) =>
      to < a || b < from
        ? [[a, b] as const]
        : (
            [
              [a, from - 1],
              [to + 1, b],
            ] as const
          ).filter(([x, y]) => x <= y),
    );
  return left;
}
