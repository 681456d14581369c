// The inputs of a target, one after the other, the same for the same seed.
import { below, changeBytes, pick, type Random, randomOf } from "./mutate.ts";
import { type Format, mutateTree, type Tree } from "./trees.ts";

export type Corpus = {
  readonly inputs: readonly Buffer[];
  readonly format?: Format | undefined;
  /** Inputs are cut there; bytes. */
  readonly longest?: number;
};

const usualLength = 4096;

/** Three of four inputs are changed as trees where they have a form, some of them as bytes after that. */
export function createInputs(corpus: Corpus, seed: number): { readonly random: Random; next(): Buffer } {
  const { inputs, format, longest = usualLength } = corpus;
  const random = randomOf(seed);
  const trees = inputs.map((input) => format?.decode(input)).filter((tree): tree is Tree => tree !== undefined);
  const fromTree = (): Buffer | undefined => {
    if (format === undefined || trees.length === 0) return undefined;
    let tree = pick(random, trees);
    for (let left = 1 + below(random, 2); left > 0; left -= 1) tree = mutateTree(tree, random);
    const written = format.encode(tree);
    if (written.length > longest) return undefined;
    return below(random, 8) === 0 ? changeBytes(written, random, inputs) : written;
  };
  return {
    random,
    next: () => {
      const isTree = below(random, 4) > 0;
      const input = (isTree ? fromTree() : undefined) ?? changeBytes(pick(random, inputs), random, inputs);
      return Buffer.from(input.subarray(0, longest));
    },
  };
}
