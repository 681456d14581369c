// A few thousand hostile inputs for each reader, the same in every run; `npm run fuzz` has no end to them.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { corpusOf } from "../../fuzz/corpus.ts";
import { mutate, randomOf } from "../../fuzz/mutate.ts";
import { canary, type Target, tryInput } from "../../fuzz/target.ts";
import { targets } from "../../fuzz/targets.ts";

const cases = 2000;

suite("hostile input", () => {
  for (const target of targets)
    test(`${target.name}: ${cases} inputs, and those that are kept`, () => {
      const random = randomOf(1);
      const corpus = corpusOf(target);
      for (const input of corpus) assert.equal(tryInput(target, input), undefined);
      for (let i = 0; i < cases; i += 1) assert.equal(tryInput(target, mutate(corpus, random)), undefined);
    });
});

suite("the fuzzer", () => {
  const broken = (run: Target["run"]): Target => ({ name: "x", seeds: () => [], run, isExpected: () => false });
  const why = (run: Target["run"]): string | undefined => tryInput(broken(run), Buffer.from("x"))?.why;

  test("finds an error that nobody documents, a plaintext, and a hang", () => {
    assert.equal(
      why(() => {
        throw new RangeError("out");
      }),
      "threw RangeError: out",
    );
    assert.equal(
      why(() => `it was ${canary}`),
      "said a plaintext",
    );
    assert.match(
      why(() => {
        const until = performance.now() + 120;
        while (performance.now() < until);
        return undefined;
      }) ?? "",
      /^took \d+ ms$/,
    );
    assert.equal(
      why(() => undefined),
      undefined,
    );
  });

  test("gives the same inputs for the same seed, and others for another", () => {
    const corpus = [Buffer.from("clusters: 1"), Buffer.from("{}")];
    const inputs = (seed: number): readonly string[] => {
      const random = randomOf(seed);
      return Array.from({ length: 50 }, () => mutate(corpus, random).toString("hex"));
    };
    assert.deepEqual(inputs(3), inputs(3));
    assert.notDeepEqual(inputs(3), inputs(4));
    assert.ok(new Set(inputs(3)).size > 40);
  });
});
