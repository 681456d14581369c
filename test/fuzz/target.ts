// What is fuzzed: a reader of bytes that others write, and what it may do with them.
import type { Corpus } from "./inputs.ts";

/** A plaintext that no reader may say aloud. */
export const canary = "Tr0ub4dor&3-canary";
/** A text as it may be written. */
export function spellingsOf(text: string): readonly string[] {
  return [text, Buffer.from(text).toString("base64"), Buffer.from(text).toString("hex")];
}
const spellings = spellingsOf(canary);

/** A message with those of its causes. */
export function saidBy(error: unknown): string {
  return error instanceof Error ? `${error.message} ${saidBy(error.cause)}` : "";
}

/** How inputs end, and the share of them that ends so at least: what is refused at the first look shows nothing. */
export type Depths = Readonly<Record<string, number>>;

export type Target = {
  readonly name: string;
  readonly depths: Depths;
  /** Good and bad inputs that new ones are made from; also those that once broke something. */
  readonly seeds: () => readonly Buffer[];
  readonly format?: Corpus["format"];
  /**
   * Reads the input. Returns what the outside would see of it (a message, a log line); throws only what
   * `isExpected` knows.
   * @param reach is told how far the input gets: the last word counts
   */
  readonly run: (input: Buffer, reach: (end: string) => void) => string | undefined | Promise<string | undefined>;
  /** Is this one of the errors that the reader documents? */
  readonly isExpected: (error: unknown) => boolean;
};

export type Finding = { readonly target: string; readonly input: Buffer; readonly why: string };
/** How an input ended; `refused` where it reached nothing. */
export type Tried = { readonly end: string; readonly finding?: Finding };

/** Longer than that is a hang; milliseconds. */
const hangMs = 100;
const repeats = 5;

type Once = { readonly ms: number; readonly end: string; readonly why: string | undefined };

async function once(target: Target, input: Buffer): Promise<Once> {
  const began = performance.now();
  let said: string | undefined;
  let why: string | undefined;
  let end = "refused";
  try {
    const saying = target.run(Buffer.from(input), (reached) => (end = reached));
    said = saying instanceof Promise ? await saying : saying;
  } catch (error) {
    if (target.isExpected(error)) said = saidBy(error);
    else why = `threw ${error instanceof Error ? `${error.name}: ${error.message}` : String(error)}`;
  }
  const ms = performance.now() - began;
  if (spellings.some((spelling) => said?.includes(spelling))) why ??= "said a plaintext";
  return { ms, end, why };
}

/** Tries one input. A machine that was busy is asked again: the fastest of a few runs counts. */
export async function tryInput(target: Target, input: Buffer): Promise<Tried> {
  const first = await once(target, input);
  const found = (why: string): Tried => ({ end: first.end, finding: { target: target.name, input, why } });
  if (first.why !== undefined) return found(first.why);
  if (first.ms <= hangMs) return { end: first.end };
  let fastest = first.ms;
  for (let i = 0; i < repeats; i += 1) fastest = Math.min(fastest, (await once(target, input)).ms);
  return fastest <= hangMs ? { end: first.end } : found(`took ${Math.round(fastest)} ms`);
}

/** Counts how inputs end. */
export function count(ends: Map<string, number>, end: string): void {
  ends.set(end, (ends.get(end) ?? 0) + 1);
}
/** In words, the most frequent first. */
export function describeEnds(ends: ReadonlyMap<string, number>): string {
  const sorted = [...ends].toSorted(([, a], [, b]) => b - a);
  return sorted.map(([end, times]) => `${end} ${times}`).join(", ");
}
/** What of `depths` was not reached. */
export function shallow(depths: Depths, ends: ReadonlyMap<string, number>): readonly string[] {
  const cases = [...ends.values()].reduce((sum, times) => sum + times, 0);
  return Object.entries(depths).flatMap(([end, share]) => {
    const times = ends.get(end) ?? 0;
    return times > 0 && times >= share * cases ? [] : [`only ${times} of ${cases} inputs end with '${end}'`];
  });
}
