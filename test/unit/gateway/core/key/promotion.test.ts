import assert from "node:assert/strict";
import { test } from "node:test";
import { decidePromotion } from "@claviger/gateway-core/src/key/promotion.ts";

function state(versions: Readonly<Record<number, number>>, minEncryption: number) {
  return {
    versions: new Map(Object.entries(versions).map(([version, createdAt]) => [Number(version), createdAt])),
    latest: Math.max(...Object.keys(versions).map(Number)),
    minEncryption,
    minDecryption: 1,
  };
}

test("a key that nobody has pinned gets its latest version promoted, whatever the rotation", () => {
  for (const isAuto of [true, false])
    assert.deepEqual(decidePromotion(state({ 1: 10, 2: 20 }, 0), undefined, isAuto), {
      kind: "promote",
      version: 2,
      lost: false,
    });
});

test("a pinned version encrypts", () => {
  const promoted = { version: 2, createdAt: 20 };
  assert.deepEqual(decidePromotion(state({ 1: 10, 2: 20 }, 2), undefined, true), { kind: "keep", promoted });
  assert.deepEqual(decidePromotion(state({ 1: 10, 2: 20 }, 2), promoted, false), { kind: "keep", promoted });
});

test("a newer version is promoted with rotation auto, and waits for an operator with manual", () => {
  const known = { version: 1, createdAt: 10 };
  assert.deepEqual(decidePromotion(state({ 1: 10, 2: 20 }, 1), known, true), {
    kind: "promote",
    version: 2,
    lost: false,
  });
  assert.deepEqual(decidePromotion(state({ 1: 10, 2: 20 }, 1), known, false), { kind: "keep", promoted: known });
  assert.deepEqual(decidePromotion(state({ 1: 10, 2: 20 }, 2), known, false), {
    kind: "keep",
    promoted: { version: 2, createdAt: 20 },
  });
});

test("a value below one that was known is raised again, never followed", () => {
  const known = { version: 2, createdAt: 20 };
  for (const isAuto of [true, false])
    for (const value of [0, 1])
      assert.deepEqual(decidePromotion(state({ 1: 10, 2: 20 }, value), known, isAuto), {
        kind: "raise",
        promoted: known,
      });
});

test("a backend restored from a backup is a rollback until a newer version exists", () => {
  const known = { version: 3, createdAt: 30 };
  for (const isAuto of [true, false])
    assert.deepEqual(decidePromotion(state({ 1: 10, 2: 20 }, 2), known, isAuto), { kind: "rolled-back" });
  assert.deepEqual(decidePromotion(state({ 1: 10, 2: 20, 3: 40 }, 2), known, true), {
    kind: "promote",
    version: 3,
    lost: true,
  });
  assert.deepEqual(decidePromotion(state({ 1: 10, 2: 20, 3: 40 }, 2), known, false), { kind: "rolled-back" });
  assert.deepEqual(decidePromotion(state({ 1: 10, 2: 20, 3: 40 }, 3), known, false), {
    kind: "replace",
    promoted: { version: 3, createdAt: 40 },
  });
});

test("a key that was deleted and made anew is another key", () => {
  const known = { version: 1, createdAt: 10 };
  assert.deepEqual(decidePromotion(state({ 1: 50 }, 0), known, true), { kind: "promote", version: 1, lost: true });
  assert.deepEqual(decidePromotion(state({ 1: 50 }, 0), known, false), { kind: "rolled-back" });
  assert.deepEqual(decidePromotion(state({ 1: 50 }, 1), known, true), {
    kind: "replace",
    promoted: { version: 1, createdAt: 50 },
  });
});
