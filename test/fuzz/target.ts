// What is fuzzed: a reader of bytes that others write, and what it may do with them.

/** A plaintext that no reader may say aloud. */
export const canary = "Tr0ub4dor&3-canary";
const spellings = [canary, Buffer.from(canary).toString("base64"), Buffer.from(canary).toString("hex")];

/** A message with those of its causes. */
function saidBy(error: unknown): string {
  return error instanceof Error ? `${error.message} ${saidBy(error.cause)}` : "";
}

export type Target = {
  readonly name: string;
  /** Good and bad inputs that new ones are made from; also those that once broke something. */
  readonly seeds: () => readonly Buffer[];
  /**
   * Reads the input. Returns what the outside would see of it (a message, a log line); throws only what
   * `isExpected` knows.
   */
  readonly run: (input: Buffer) => string | undefined;
  /** Is this one of the errors that the reader documents? */
  readonly isExpected: (error: unknown) => boolean;
};

export type Finding = { readonly target: string; readonly input: Buffer; readonly why: string };

/** Longer than that is a hang; milliseconds. */
const hangMs = 100;
const repeats = 5;

function once(target: Target, input: Buffer): { readonly ms: number; readonly why: string | undefined } {
  const began = performance.now();
  let said: string | undefined;
  let why: string | undefined;
  try {
    said = target.run(Buffer.from(input));
  } catch (error) {
    if (target.isExpected(error)) said = saidBy(error);
    else why = `threw ${error instanceof Error ? `${error.name}: ${error.message}` : String(error)}`;
  }
  const ms = performance.now() - began;
  if (spellings.some((spelling) => said?.includes(spelling))) why ??= "said a plaintext";
  return { ms, why };
}

/** Tries one input. A machine that was busy is asked again: the fastest of a few runs counts. */
export function tryInput(target: Target, input: Buffer): Finding | undefined {
  const first = once(target, input);
  if (first.why !== undefined) return { target: target.name, input, why: first.why };
  if (first.ms <= hangMs) return undefined;
  const fastest = Math.min(...Array.from({ length: repeats }, () => once(target, input).ms));
  return fastest <= hangMs ? undefined : { target: target.name, input, why: `took ${Math.round(fastest)} ms` };
}
