import assert from "node:assert/strict";
import { test } from "node:test";
import { createNovelty } from "@claviger/proto/runtime/novelty.ts";

test("what is found at every try is new once, and again when it changes or was over", () => {
  const novelty = createNovelty();
  const seen = ["denied", "denied", "away", "denied"].map((reason) => novelty.isNew("failed", 2, reason));
  assert.deepEqual(seen, [true, false, true, true]);
  assert.equal(novelty.isNew("other", 2, "denied"), true);
  novelty.reset();
  assert.equal(novelty.isNew("failed", 2, "denied"), true);
});
