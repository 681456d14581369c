// A few thousand hostile inputs for each reader, the same in every run; `npm run fuzz` has no end to them.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { corpusOf } from "../../fuzz/corpus.ts";
import { der, json, protobuf, yaml } from "../../fuzz/formats.ts";
import { createInputs } from "../../fuzz/inputs.ts";
import { randomOf } from "../../fuzz/mutate.ts";
import { requestFormat } from "../../fuzz/services/http1.ts";
import { framesFormat } from "../../fuzz/services/http2.ts";
import { canary, count, describeEnds, shallow, type Target, tryInput } from "../../fuzz/target.ts";
import { mutateTree, type Tree } from "../../fuzz/trees.ts";
import { targets } from "../../fuzz/targets.ts";

const cases = 2000;

suite("hostile input", () => {
  for (const target of targets)
    test(`${target.name}: ${cases} inputs, and those that are kept`, async (t) => {
      const corpus = corpusOf(target);
      const inputs = createInputs({ inputs: corpus, format: target.format }, 1);
      for (const input of corpus) assert.equal((await tryInput(target, input)).finding, undefined);
      const ends = new Map<string, number>();
      for (let i = 0; i < cases; i += 1) {
        const { end, finding } = await tryInput(target, inputs.next());
        assert.equal(finding, undefined);
        count(ends, end);
      }
      t.diagnostic(describeEnds(ends));
      // Inputs that are all refused at once would try nothing.
      assert.deepEqual(shallow(target.depths, ends), []);
    });
});

suite("the forms of inputs", () => {
  for (const target of targets.filter(({ format }) => format !== undefined))
    test(`${target.name}: a seed is read as a tree, and written as it was`, () => {
      const { format } = target;
      const trees = corpusOf(target).map((input) => [input, format?.decode(input)] as const);
      const read = trees.filter(([, tree]) => tree !== undefined);
      assert.ok(read.length > 0);
      for (const [input, tree = null] of read) {
        const written = format?.encode(tree) ?? Buffer.alloc(0);
        // YAML and JSON may be written in another way; what they say is the same.
        if (!written.equals(input)) assert.deepEqual(format?.decode(written), tree);
      }
    });

  test("any change of a tree can be written", () => {
    const random = randomOf(1);
    for (const format of [json, yaml, protobuf, der, framesFormat, requestFormat(json)]) {
      const start: Tree = [[1, 2, Buffer.from("a")], { a: "b", c: [null, 1] }, [[0x30, [[4, Buffer.from("x")]]]]];
      for (let i = 0; i < 100; i += 1) {
        let tree: Tree = start;
        for (let changes = 0; changes < 3; changes += 1) tree = mutateTree(tree, random);
        format.encode(tree);
      }
    }
  });
});

suite("the fuzzer", () => {
  const broken = (run: Target["run"]): Target => ({
    name: "x",
    depths: {},
    seeds: () => [],
    run,
    isExpected: () => false,
  });
  const why = async (run: Target["run"]): Promise<string | undefined> =>
    (await tryInput(broken(run), Buffer.from("x"))).finding?.why;

  test("finds an error that nobody documents, a plaintext, and a hang", async () => {
    assert.equal(
      await why(() => {
        throw new RangeError("out");
      }),
      "threw RangeError: out",
    );
    assert.equal(await why(() => `it was ${canary}`), "said a plaintext");
    assert.match(
      (await why(() => {
        const until = performance.now() + 120;
        while (performance.now() < until);
        return undefined;
      })) ?? "",
      /^took \d+ ms$/,
    );
    assert.equal(await why(() => undefined), undefined);
  });

  test("says which depths were not reached", () => {
    const ends = new Map([
      ["refused", 90],
      ["read", 10],
    ]);
    assert.deepEqual(shallow({ read: 0.1, refused: 0.5 }, ends), []);
    assert.deepEqual(shallow({ read: 0.2, signed: 0 }, ends), [
      "only 10 of 100 inputs end with 'read'",
      "only 0 of 100 inputs end with 'signed'",
    ]);
  });

  test("gives the same inputs for the same seed, and others for another", () => {
    const corpus = { inputs: [Buffer.from('{"clusters":[1,"a"]}'), Buffer.from("{}")], format: json };
    const inputs = (seed: number): readonly string[] => {
      const made = createInputs(corpus, seed);
      return Array.from({ length: 50 }, () => made.next().toString("hex"));
    };
    assert.deepEqual(inputs(3), inputs(3));
    assert.notDeepEqual(inputs(3), inputs(4));
    assert.ok(new Set(inputs(3)).size > 25);
  });
});
