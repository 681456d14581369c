import assert from "node:assert/strict";
import type { LookupFunction } from "node:net";
import { test } from "node:test";
import { createLookup } from "@claviger/proto/runtime/lookup.ts";

test("look-ups of one name at the same time are one, and each is told", () => {
  const asked: string[] = [];
  const answers: (() => void)[] = [];
  const slow: LookupFunction = (name, _options, callback) => {
    asked.push(name);
    answers.push(() => callback(null, `address of ${name}`, 4));
  };
  const lookup = createLookup(slow);
  const found: unknown[] = [];
  const ask = (name: string, family = 0): void =>
    lookup(name, { family }, (_error, address) => void found.push(address));
  ask("a");
  ask("a");
  ask("b");
  ask("a", 6);
  assert.deepEqual(asked, ["a", "b", "a"]);
  for (const answer of answers.splice(0)) answer();
  assert.deepEqual(found, ["address of a", "address of a", "address of b", "address of a"]);
  ask("a");
  assert.equal(asked.length, 4, "and nothing is kept");
});
