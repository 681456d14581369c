// How old keys are, with few calls to their backends.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { KeyState } from "@claviger/gateway-core/src/backend/port.ts";
import { clusterName } from "@claviger/proto/wire/names.ts";
import { createKeyAges } from "../../../../gateway/fleet/src/keys/ages.ts";
import { recordOf } from "./reports.ts";

const day = 86_400_000;
const maxAgeMs = 90 * day;

function world() {
  const state = { now: 1_700_000_000_000, calls: 0, answer: (): Promise<number> => Promise.resolve(state.now / 1000) };
  const ages = createKeyAges({
    describe: async (): Promise<KeyState> => {
      state.calls += 1;
      const createdAt = await state.answer();
      return { latest: 3, minEncryption: 3, minDecryption: 1, versions: new Map([[3, createdAt]]) };
    },
    maxAgeMs,
    now: () => state.now,
  });
  return { state, ages };
}

const red = recordOf();

test("a key is read once a day, and an age goes on by itself", async () => {
  const { state, ages } = world();
  const made = state.now;
  state.answer = () => Promise.resolve(made / 1000);
  for (let i = 0; i < 3; i += 1) assert.deepEqual(await ages.look([red]), { old: [], unknown: 0 });
  assert.equal(state.calls, 1, "three looks at a key that is young");
  state.now += day + 1;
  await ages.look([red]);
  assert.equal(state.calls, 2);
  state.now = made + maxAgeMs + 1;
  assert.deepEqual(await ages.look([red]), { old: [{ record: red, version: 3, since: made, maxAgeMs }], unknown: 0 });
  const before = state.calls;
  await ages.look([red]);
  assert.equal(state.calls, before);
  // Rotated meanwhile: it is seen soon.
  state.answer = () => Promise.resolve(state.now / 1000);
  state.now += 16_000;
  assert.deepEqual(await ages.look([red]), { old: [], unknown: 0 });
});

test("a key of several clusters is read once, and one that is not served is not read", async () => {
  const { state, ages } = world();
  const blue = { ...red, name: clusterName.parse("blue") };
  await ages.look([red, blue, recordOf({ name: "grey", state: "suspended" })]);
  assert.equal(state.calls, 1);
});

test("what cannot be read, or not in time, is said, waited for a second, and tried again", async () => {
  const { state, ages } = world();
  const { promise, resolve: answer } = Promise.withResolvers<number>();
  state.answer = () => promise;
  const began = performance.now();
  assert.deepEqual(await ages.look([red]), { old: [], unknown: 1 });
  assert.ok(performance.now() - began < 3000);
  answer(1);
  assert.equal((await ages.look([red])).old.length, 1);
  const failing = world();
  failing.state.answer = () => Promise.reject(new Error("away"));
  assert.deepEqual(await failing.ages.look([red]), { old: [], unknown: 1 });
  failing.state.answer = () => Promise.resolve(failing.state.now / 1000);
  assert.equal((await failing.ages.look([red])).unknown, 1);
  failing.state.now += 16_000;
  assert.deepEqual(await failing.ages.look([red]), { old: [], unknown: 0 });
});
