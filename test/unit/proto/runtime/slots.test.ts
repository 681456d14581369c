import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { createSlots } from "@claviger/proto/runtime/slots.ts";

suite("slots", () => {
  test("are as many as they were made, and one that is given back can be taken again", () => {
    const slots = createSlots(2);
    assert.deepEqual([slots.tryTake(), slots.tryTake(), slots.tryTake()], [true, true, false]);
    slots.release();
    assert.deepEqual([slots.tryTake(), slots.tryTake()], [true, false]);
  });

  test("are handed on in turn, and not to who comes between", () => {
    const slots = createSlots(1);
    const used: string[] = [];
    assert.ok(slots.tryTake());
    slots.whenFree(() => used.push("first"));
    slots.whenFree(() => used.push("second"));
    slots.release();
    assert.deepEqual(used, ["first"]);
    assert.equal(slots.tryTake(), false);
    slots.release();
    assert.deepEqual(used, ["first", "second"]);
    slots.release();
    assert.ok(slots.tryTake());
  });
});
