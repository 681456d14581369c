// What holds for the batcher whatever arrives, leaves, ends and fails, in any order.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { createBatcher } from "@claviger/proto/runtime/batcher.ts";
import { KmsError, toKmsError } from "@claviger/proto/wire/errors.ts";
import { never, resultOf, turn, type Outcome, type Result } from "./batch-results.ts";
import * as fc from "fast-check";

suite("The batcher, always", () => {
  test("whatever arrives, leaves and fails: one right outcome for each caller, every result ends with one owner", async (t) => {
    const step = fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({
          kind: fc.constant("ask" as const),
          group: fc.constantFrom("g", "h", "i"),
          key: fc.constantFrom("k", "l"),
          identity: fc.option(fc.constantFrom("x", "y"), { nil: undefined }),
          deadline: fc.option(fc.integer({ min: 1, max: 300 }), { nil: undefined }),
        }),
      },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant("leave" as const), who: fc.nat(12) }) },
      {
        weight: 3,
        arbitrary: fc.record({
          kind: fc.constant("end" as const),
          call: fc.nat(3),
          how: fc.constantFrom("answer", "fewer", "more", "reject", "items" as const),
        }),
      },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant("pass" as const), ms: fc.integer({ min: 1, max: 120 }) }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant("turn" as const) }) },
    );
    t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const open: { items: readonly string[]; signal: AbortSignal; end(how: string): void }[] = [];
        const made: Result[] = [];
        const given: Result[] = [];
        const outcomes: (string | undefined)[] = [];
        const items: string[] = [];
        const leavers: AbortController[] = [];
        const deadlines: number[] = [];
        let discards = 0;
        const make = (text: string): Outcome => {
          const value = resultOf(text);
          made.push(value);
          return { ok: true, value };
        };
        const batcher = createBatcher<string, string, Result>({
          keyId: (key) => key,
          maxBatch: 4,
          maxQueued: 6,
          maxInFlight: 2,
          maxCallMs: 200,
          discard: (result) => {
            assert.equal(result.isDiscarded, false, "discarded once");
            result.isDiscarded = true;
            discards += 1;
          },
          copy: ({ text, isDiscarded }) => {
            assert.equal(isDiscarded, false, "a copy of a result that is still there");
            return resultOf(text);
          },
          send: (key, sent, { signal }) =>
            new Promise((resolve, reject) => {
              assert.ok(sent.length >= 1 && sent.length <= 4);
              for (const item of sent) assert.equal(item.split(":")[0], key);
              const end = (how: string): void => {
                const all = (): Outcome[] => sent.map(make);
                if (how === "answer") resolve(all());
                else if (how === "fewer") resolve(all().slice(0, -1));
                else if (how === "more") resolve([...all(), make("extra")]);
                else if (how === "reject") reject(new KmsError("backend_unavailable"));
                else resolve(sent.map(() => ({ ok: false, error: new KmsError("ciphertext_invalid") })));
                if (how === "fewer") made.pop();
              };
              open.push({ items: sent, signal, end });
            }),
        });
        for (const one of steps) {
          switch (one.kind) {
            case "ask": {
              const n = items.length;
              const item = `${one.key}:${one.identity ?? n}`;
              const leaver = new AbortController();
              const deadline = one.deadline === undefined ? undefined : Date.now() + one.deadline;
              items.push(item);
              leavers.push(leaver);
              deadlines.push(deadline ?? Number.POSITIVE_INFINITY);
              outcomes.push(undefined);
              const end = (text: string): void => {
                assert.equal(outcomes[n], undefined, "one outcome");
                outcomes[n] = text;
              };
              batcher
                .run(one.key, {
                  item,
                  group: one.group,
                  signal: leaver.signal,
                  ...(one.identity !== undefined && { identity: one.identity }),
                  ...(deadline !== undefined && { deadline }),
                })
                .then(
                  (result) => {
                    given.push(result);
                    end(result.text);
                  },
                  (error: unknown) => end(toKmsError(error).reason),
                );
              break;
            }
            case "leave":
              leavers[one.who]?.abort();
              break;
            case "end":
              open.splice(one.call, 1)[0]?.end(one.how);
              break;
            case "pass":
              t.mock.timers.tick(one.ms);
              break;
            case "turn":
              await turn();
              break;
          }
          await Promise.resolve();
          for (const [n, deadline] of deadlines.entries())
            if (deadline < Date.now()) {
              await turn();
              assert.notEqual(outcomes[n], undefined, "a caller is held beyond its deadline");
            }
        }
        // Whatever is open ends at its limit, and then what it brings is late.
        for (let i = 0; i < 40 && outcomes.includes(undefined); i += 1) {
          await turn();
          t.mock.timers.tick(200);
        }
        await turn();
        for (const call of open.splice(0)) call.end("answer");
        await turn();
        t.mock.timers.tick(1000);
        await turn();
        assert.ok(!outcomes.includes(undefined), "everybody has an outcome");
        for (const [n, outcome] of outcomes.entries())
          if (outcome?.includes(":")) assert.equal(outcome, items[n], "nobody gets another's result");
        const owned = new Set(given);
        assert.equal(owned.size, given.length, "nobody shares a result");
        for (const result of made)
          assert.notEqual(result.isDiscarded, owned.has(result), "a result is a caller's or discarded");
        assert.equal(discards, made.filter(({ isDiscarded }) => isDiscarded).length);
      }),
      { numRuns: 150 },
    );
  });

  test("clusters' items leave in turn: no group waits for more than one item of each other group", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom("a", "b", "c", "d"), { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 1, max: 8 }),
        async (groups, maxBatch) => {
          const sent: string[] = [];
          const batcher = createBatcher<string, string, string>({
            keyId: (key) => key,
            maxBatch,
            maxInFlight: 1,
            discard: () => {},
            send: (_key, items) => {
              sent.push(...items);
              return Promise.resolve(items.map((value) => ({ ok: true, value })));
            },
          });
          await Promise.all(groups.map((group) => batcher.run("k", { item: group, group, signal: never })));
          assert.deepEqual(sent.toSorted(), groups.toSorted());
          for (const group of new Set(groups))
            assert.ok(sent.indexOf(group) < new Set(groups).size, `${group} waits behind others: ${sent.join("")}`);
        },
      ),
      { numRuns: 100 },
    );
  });
});
