// New inputs from old ones, the same for the same seed: bytes and words changed, cut, repeated, moved, and
// two inputs spliced.

export type Random = () => number;

/** Mulberry32: 32 bits of state are enough to repeat a run. */
export function randomOf(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function below(random: Random, count: number): number {
  return Math.floor(random() * count);
}

export function pick<T>(random: Random, list: readonly T[]): T {
  const found = list[below(random, list.length)];
  if (found === undefined) throw new TypeError("there is nothing to pick");
  return found;
}

/** What lengths, counts, varints, texts and base64 break on. */
const interesting: readonly Buffer[] = [
  ...["00", "01", "7f", "80", "ff", "0000", "ffff", "7fffffff", "80000000", "ffffffff", "ffffffffffffffffff01"].map(
    (hex) => Buffer.from(hex, "hex"),
  ),
  ...[
    "",
    " ",
    "\n",
    '"',
    "\\",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "-1",
    "1e309",
    "null",
    "true",
    "*a",
    "&a",
    "<<",
    "!!js",
    "__proto__",
    "=",
    "\u2028",
    "\ud800",
    "\u0000",
    "vault:v1:",
    "URI:",
    ";",
    "%00",
  ].map((text) => Buffer.from(text)),
];

type Step = (input: Buffer, random: Random, corpus: readonly Buffer[]) => Buffer;

function splice(input: Buffer, at: number, remove: number, insert: Buffer): Buffer {
  return Buffer.concat([input.subarray(0, at), insert, input.subarray(at + remove)]);
}

const steps: readonly Step[] = [
  // A bit, a byte.
  (input, random) => {
    const copy = Buffer.from(input);
    if (copy.length > 0) {
      const at = below(random, copy.length);
      copy[at] = (copy[at] ?? 0) ^ (1 << below(random, 8));
    }
    return copy;
  },
  (input, random) => {
    const copy = Buffer.from(input);
    if (copy.length > 0) copy[below(random, copy.length)] = below(random, 256);
    return copy;
  },
  // Cut off; taken out.
  (input, random) => input.subarray(0, below(random, input.length + 1)),
  (input, random) => splice(input, below(random, input.length + 1), below(random, 9), Buffer.alloc(0)),
  // Something that breaks things, put in or over.
  (input, random) => splice(input, below(random, input.length + 1), 0, pick(random, interesting)),
  (input, random) => {
    const word = pick(random, interesting);
    return splice(input, below(random, input.length + 1), word.length, word);
  },
  // A piece again, elsewhere.
  (input, random) => {
    const from = below(random, input.length + 1);
    return splice(input, below(random, input.length + 1), 0, input.subarray(from, from + below(random, 65)));
  },
  // The head of one, the tail of another.
  (input, random, corpus) => {
    const other = pick(random, corpus);
    return Buffer.concat([
      input.subarray(0, below(random, input.length + 1)),
      other.subarray(below(random, other.length + 1)),
    ]);
  },
  // A digit more or less, where there are numbers.
  (input, random) => {
    const digits = [...input.keys()].filter((at) => (input[at] ?? 0) >= 0x30 && (input[at] ?? 0) <= 0x39);
    return digits.length === 0
      ? input
      : splice(input, pick(random, digits), below(random, 2), Buffer.from(String(below(random, 100_000))));
  },
];

/** One to eight changes of bytes. */
export function changeBytes(input: Buffer, random: Random, corpus: readonly Buffer[] = [input]): Buffer {
  let changed = input;
  for (let left = 1 + below(random, 8); left > 0; left -= 1) changed = pick(random, steps)(changed, random, corpus);
  return Buffer.from(changed);
}
