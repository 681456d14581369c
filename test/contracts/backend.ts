// The contract of the Backend port, for every adapter and for the fake of the unit tests.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, suite, test } from "node:test";
import type { KeyRef, OpenBackend, Outcome } from "@claviger/gateway-core/src/backend/port.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { backendName, keyName, mountPath } from "@claviger/proto/wire/names.ts";

/** A backend whose keys `one` and `two` are at version 1 and were made within the last minute. */
export type BackendWorld = { readonly backend: OpenBackend; stop(): Promise<void> };

export function signal(): AbortSignal {
  return AbortSignal.timeout(10_000);
}
export function refOf(key: string): KeyRef {
  return { backend: backendName.parse("main"), mount: mountPath.parse("transit"), key: keyName.parse(key) };
}
export const aad = Buffer.from("cluster a");
function valueOf<T>(outcome: Outcome<T> | undefined): T {
  assert.ok(outcome !== undefined);
  if (!outcome.ok) throw outcome.error;
  return outcome.value;
}
function reasonOf(outcome: Outcome<unknown> | undefined): string | undefined {
  return outcome?.ok === false ? outcome.error.reason : undefined;
}
export function hasReason(...reasons: readonly string[]) {
  return (error: unknown) => error instanceof KmsError && reasons.includes(error.reason);
}

/**
 * The contract of the Backend port.
 * @param start makes a backend for the suite alone
 */
export function backendContract(
  name: string,
  start: () => Promise<BackendWorld>,
  { endsEarly }: { readonly endsEarly: boolean },
): void {
  suite(`${name} keeps the backend contract`, () => {
    let world: BackendWorld;
    before(async () => {
      world = await start();
    });
    after(() => world.stop());

    test("wrap and unwrap give back the bytes, whatever they are", async () => {
      const key = refOf("one");
      await world.backend.describe(key, signal());
      const plaintexts = [1, 2, 3, 31, 32, 33, 128].map((size) => randomBytes(size));
      const wrapped = await world.backend.wrap(
        key,
        plaintexts.map((plaintext) => ({ plaintext, associatedData: aad, version: 1 })),
        signal(),
      );
      const items = wrapped.map((outcome) => ({ ...valueOf(outcome), associatedData: aad }));
      const opened = await world.backend.unwrap(key, items, signal());
      assert.deepEqual(
        opened.map((outcome) => Buffer.from(valueOf(outcome).plaintext).toString("hex")),
        plaintexts.map((bytes) => bytes.toString("hex")),
      );
    });

    test("items fail alone, and nothing tells the failures apart", async () => {
      const key = refOf("one");
      const [good] = await world.backend.wrap(
        key,
        [{ plaintext: randomBytes(32), associatedData: aad, version: 1 }],
        signal(),
      );
      const { ciphertext } = valueOf(good);
      const flipped = Buffer.from(ciphertext);
      flipped[20] = (flipped[20] ?? 0) ^ 1;
      const outcomes = await world.backend.unwrap(
        key,
        [
          { ciphertext, associatedData: aad, version: 1 },
          { ciphertext: flipped, associatedData: aad, version: 1 },
          { ciphertext, associatedData: Buffer.from("cluster b"), version: 1 },
          { ciphertext, associatedData: aad, version: 7 },
          { ciphertext: Buffer.from([1]), associatedData: aad, version: 1 },
          { ciphertext, associatedData: aad, version: 1 },
        ],
        signal(),
      );
      assert.deepEqual(outcomes.map(reasonOf), [
        undefined,
        "ciphertext_invalid",
        "ciphertext_invalid",
        "ciphertext_invalid",
        "ciphertext_invalid",
        undefined,
      ]);
    });

    test("a batch of nothing but failures is a list of failures", async () => {
      const outcomes = await world.backend.unwrap(
        refOf("one"),
        [{ ciphertext: randomBytes(60), associatedData: aad, version: 1 }],
        signal(),
      );
      assert.deepEqual(outcomes.map(reasonOf), ["ciphertext_invalid"]);
    });

    test("rotation adds a version, promotion raises the lower bound of encryption, older ones decrypt", async () => {
      const key = refOf("two");
      const first = await world.backend.describe(key, signal());
      assert.deepEqual([first.latest, first.minEncryption, first.minDecryption], [1, 0, 1]);
      const [old] = await world.backend.wrap(
        key,
        [{ plaintext: randomBytes(32), associatedData: aad, version: 1 }],
        signal(),
      );
      assert.equal(await world.backend.rotate(key, signal()), 2);
      await world.backend.promote(key, 2, signal());
      const state = await world.backend.describe(key, signal());
      assert.deepEqual([state.latest, state.minEncryption], [2, 2]);
      assert.ok([...state.versions.values()].every((createdAt) => Math.abs(createdAt - Date.now() / 1000) < 60));
      const outcomes = await world.backend.wrap(
        key,
        [1, 2, 3].map((version) => ({ plaintext: randomBytes(32), associatedData: aad, version })),
        signal(),
      );
      assert.equal(outcomes[0]?.ok, false);
      assert.equal(valueOf(outcomes[1]).version, 2);
      assert.equal(outcomes[2]?.ok, false);
      const { ciphertext } = valueOf(old);
      valueOf((await world.backend.unwrap(key, [{ ciphertext, associatedData: aad, version: 1 }], signal()))[0]);
    });

    test("an HMAC is the same for everyone who asks, and another for another input", async () => {
      const key = refOf("claviger-integrity");
      await world.backend.describe(key, signal()).catch(() => undefined);
      const ask = async (input: string) =>
        Buffer.from(await world.backend.hmac(key, 1, Buffer.from(input), signal())).toString("hex");
      assert.equal(await ask("a"), await ask("a"));
      assert.notEqual(await ask("a"), await ask("b"));
    });

    // An adapter without a wait may answer all the same.
    if (endsEarly)
      test("a call whose time is over rejects at once", async () => {
        const over = AbortSignal.abort(new KmsError("deadline_exceeded"));
        await assert.rejects(
          world.backend.unwrap(refOf("one"), [{ ciphertext: randomBytes(60), associatedData: aad, version: 1 }], over),
          hasReason("deadline_exceeded"),
        );
      });

    test("health says that it would serve", () => world.backend.health(signal()));
  });
}
