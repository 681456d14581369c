import assert from "node:assert/strict";
import { test } from "node:test";
import { compareEpochs } from "@claviger/proto/wire/epoch.ts";
import * as fc from "fast-check";
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

test("a key made anew that somebody has pinned above what was known: whoever rotates by hand is followed, else the newest is", () => {
  const known = { version: 2, createdAt: 20 };
  const anew = { 3: 130, 4: 140, 5: 150 };
  const replacedBy = (version: number, createdAt: number) => ({ kind: "replace", promoted: { version, createdAt } });
  assert.deepEqual(decidePromotion(state(anew, 4), known, false), replacedBy(4, 140));
  assert.deepEqual(decidePromotion(state(anew, 5), known, false), replacedBy(5, 150));
  assert.deepEqual(decidePromotion(state(anew, 5), known, true), replacedBy(5, 150));
  assert.deepEqual(decidePromotion(state(anew, 4), known, true), { kind: "promote", version: 5, lost: true });
});

test("with rotation manual nothing moves by itself once something was known or pinned", () => {
  const known = { version: 1, createdAt: 10 };
  const two = { 1: 10, 2: 20 };
  assert.deepEqual(decidePromotion(state(two, 0), known, false), { kind: "raise", promoted: known });
  assert.deepEqual(decidePromotion(state(two, 1), undefined, false), { kind: "keep", promoted: known });
});

test("the first version of a key is promoted, and a key without versions needs one", () => {
  assert.deepEqual(decidePromotion(state({ 1: 10 }, 0), undefined, true), { kind: "promote", version: 1, lost: false });
  const none = { versions: new Map<number, number>(), latest: 0, minEncryption: 0, minDecryption: 1 };
  assert.deepEqual(decidePromotion(none, undefined, true), { kind: "rolled-back", rotations: 1 });
});

test("a backend restored from a backup is a rollback until a newer version exists", () => {
  const known = { version: 3, createdAt: 30 };
  for (const isAuto of [true, false])
    assert.deepEqual(decidePromotion(state({ 1: 10, 2: 20 }, 2), known, isAuto), {
      kind: "rolled-back",
      rotations: 2,
    });
  assert.deepEqual(decidePromotion(state({ 1: 10, 2: 20, 3: 40, 4: 41 }, 2), known, true), {
    kind: "promote",
    version: 4,
    lost: true,
  });
  assert.deepEqual(decidePromotion(state({ 1: 10, 2: 20, 3: 40 }, 2), known, false), {
    kind: "rolled-back",
    rotations: 1,
  });
  assert.deepEqual(decidePromotion(state({ 1: 10, 2: 20, 3: 40, 4: 41 }, 4), known, false), {
    kind: "replace",
    promoted: { version: 4, createdAt: 41 },
  });
});

test("a key that was deleted and made anew is another key, and is rotated above what was shown of the first", () => {
  const known = { version: 1, createdAt: 10 };
  for (const value of [0, 1])
    assert.deepEqual(decidePromotion(state({ 1: 50 }, value), known, true), { kind: "rolled-back", rotations: 1 });
  assert.deepEqual(decidePromotion(state({ 1: 50, 2: 51 }, 0), known, true), {
    kind: "promote",
    version: 2,
    lost: true,
  });
});

test("whatever the backend says, a decision never goes below what was known", () => {
  const versions = fc.dictionary(fc.integer({ min: 1, max: 9 }).map(String), fc.integer({ min: 1, max: 99 }), {
    minKeys: 1,
  });
  const known = fc.option(
    fc.record({ version: fc.integer({ min: 1, max: 9 }), createdAt: fc.integer({ min: 1, max: 99 }) }),
    {
      nil: undefined,
    },
  );
  fc.assert(
    fc.property(versions, fc.integer({ min: 0, max: 9 }), known, fc.boolean(), (all, pinned, before, isAuto) => {
      const now = state(all, pinned);
      const decision = decidePromotion(now, before, isAuto);
      switch (decision.kind) {
        case "promote":
          assert.equal(decision.version, now.latest);
          return assert.ok(decision.version > (before?.version ?? 0));
        case "keep":
        case "replace":
        case "raise":
          return assert.ok(decision.promoted.version >= (before?.version ?? 0));
        case "rolled-back":
          return assert.ok(decision.rotations >= 1 && now.latest + decision.rotations > (before?.version ?? 0));
      }
    }),
  );
});

test("clocks of two Vault nodes that differ by minutes do not matter: the newer version is the newer key", () => {
  const known = { version: 3, createdAt: 5000 };
  const now = state({ 2: 4000, 3: 5000, 4: 4700 }, 3);
  assert.deepEqual(decidePromotion(now, known, true), { kind: "promote", version: 4, lost: false });
  assert.ok(compareEpochs([0, 4700, 4], [0, 5000, 3]) > 0);
});
