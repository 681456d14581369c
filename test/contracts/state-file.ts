// The contract of the shim's StateFile, for the file and for the fake of the unit tests.
import assert from "node:assert/strict";
import { after, before, beforeEach, suite, test } from "node:test";
import type { LastGood, StateFile } from "@claviger/shim/src/state-file.ts";

/** A state file that is not there yet. */
export type StateWorld = {
  /** As a shim opens it that starts now. @param now Unix milliseconds */
  open(now: () => number): StateFile;
  /** From now on it can be read and not be written. */
  protect(): void;
  stop(): void;
};

/**
 * The contract of the StateFile port.
 * @param start makes a world for one test
 */
export function stateFileContract(name: string, start: () => StateWorld): void {
  suite(`${name} keeps the contract of a state file`, () => {
    const goodAt = 1_700_000_000_000;
    let now = goodAt;
    let world: StateWorld | undefined;
    const open = (): StateFile => (world ?? assert.fail("a world")).open(() => now);
    const loaded = (): LastGood | undefined => {
      const found = open().load();
      return found && { ...found, refused: found.refused };
    };
    const full: LastGood = {
      keyId: "key-1",
      epoch: { text: "1.2.3", mac: "mac" },
      goodAt,
      refused: "cluster_suspended",
    };

    beforeEach(() => {
      world?.stop();
      world = start();
      now = goodAt;
    });
    before(() => {
      world = undefined;
    });
    after(() => world?.stop());

    test("where there is none, nothing is loaded and nothing forgotten", () => {
      assert.equal(loaded(), undefined);
      assert.equal(open().forget(), false);
      assert.equal(loaded(), undefined);
    });

    test("a shim that starts later finds all that was saved, and the last save counts as a whole", () => {
      const first = open();
      first.save(full);
      assert.deepEqual(loaded(), full);
      assert.deepEqual({ ...first.load() }, full);
      first.save({ keyId: "key-2", epoch: undefined, goodAt: goodAt - 1 });
      assert.deepEqual(loaded(), { keyId: "key-2", epoch: undefined, goodAt: goodAt - 1, refused: undefined });
      first.save({ keyId: "key-3", epoch: { text: "1.2.4" }, goodAt, refused: undefined });
      assert.deepEqual(loaded(), { keyId: "key-3", epoch: { text: "1.2.4" }, goodAt, refused: undefined });
    });

    test("what is forgotten is the epoch and nothing else, and only once", () => {
      open().save(full);
      assert.equal(open().forget(), true);
      assert.deepEqual(loaded(), { ...full, epoch: undefined });
      assert.equal(open().forget(), false);
    });

    test("what was good in the future was good now, and the file does not become younger with time", () => {
      open().save(full);
      now = goodAt - 3_600_000;
      assert.equal(loaded()?.goodAt, now);
      now = goodAt + 3_600_000;
      assert.equal(loaded()?.goodAt, goodAt);
    });

    test("where it cannot be written, nothing is thrown and what was there stays", () => {
      const file = open();
      file.save(full);
      world?.protect();
      file.save({ ...full, keyId: "key-2" });
      file.save({ ...full, keyId: "key-3" });
      assert.deepEqual(loaded(), full);
    });
  });
}
