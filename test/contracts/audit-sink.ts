// The contract of the AuditSink port, for files and descriptors and for the fake of the unit tests.
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { lineHash } from "@claviger/gateway-core/src/audit/chain.ts";
import type { AuditSink } from "@claviger/gateway-core/src/audit/port.ts";
import { processLines } from "../unit/gateway/core/audit/records.ts";

export type SinkWorld = {
  readonly sink: AuditSink;
  /** Waits for so many lines, and resolves with all that it has taken, as whoever reads it finds it. */
  read(lines: number): Promise<string>;
  /** From now on nothing can be written, until `mend`. Absent where a sink cannot come back. */
  readonly broken?: { breakIt(): Promise<void>; mend(): Promise<void> };
  stop(): Promise<void>;
};

/**
 * The contract of the AuditSink port.
 * @param start makes an empty sink for one test
 * @param offers which of the methods that a sink need not have this one has
 */
export function sinkContract(
  name: string,
  start: () => Promise<SinkWorld>,
  offers: { readonly reopen: boolean; readonly last: boolean; readonly comesBack: boolean },
): void {
  suite(`${name} keeps the contract of an audit sink`, () => {
    let world: SinkWorld;
    let taken = "";
    const { lines: unwritten, head } = processLines(6, 0);
    /** The next genuine lines. */
    const next = (count: number): string =>
      unwritten
        .splice(0, count)
        .map((line) => `${line}\n`)
        .join("");
    /** Writes them, and finds them behind all that was taken before. */
    const write = async (count: number): Promise<void> => {
      const text = next(count);
      const bytes = Buffer.from(text);
      await world.sink.write(bytes);
      // Every sink of a log is given the same buffer.
      assert.equal(bytes.toString(), text, "it leaves the bytes as they are");
      taken += text;
      assert.equal(await world.read(taken.split("\n").length - 1), taken);
    };
    before(async () => {
      world = await start();
    });
    after(() => world.stop());

    test("it says who it is and what it can do, and finds nothing of an earlier process", async () => {
      const { sink } = world;
      assert.match(sink.name, /\S/);
      assert.deepEqual(
        { reopen: sink.reopen !== undefined, last: sink.last !== undefined, comesBack: world.broken !== undefined },
        offers,
      );
      assert.equal(await sink.last?.(), undefined);
    });

    test("what is written arrives whole and in order", async () => {
      await write(1);
      await write(3);
    });

    if (offers.reopen)
      test("opened anew, it goes on where it was", async () => {
        await world.sink.reopen?.();
        await write(1);
      });

    if (offers.last)
      test("the last whole record is found", async () => {
        await write(1);
        const line = taken.trimEnd().split("\n").at(-1) ?? "";
        assert.equal((await world.sink.last?.())?.hash, lineHash(line));
        await write(unwritten.length);
        assert.deepEqual(await world.sink.last?.(), head);
      });

    if (offers.comesBack)
      test("where nothing can be written it rejects with why, and takes what is written once it can", async () => {
        const [failed = "", good = ""] = processLines(1, 10).lines;
        await world.broken?.breakIt();
        await assert.rejects(world.sink.write(Buffer.from(`${failed}\n`)), /E[A-Z]{4,}|collector/);
        await world.broken?.mend();
        await world.sink.write(Buffer.from(`${good}\n`));
        const found = await world.read(taken.split("\n").length);
        // Nobody knows how much of a write that failed was taken.
        assert.equal(found.replace(`${failed}\n`, ""), `${taken}${good}\n`);
        taken = found;
      });

    test("closed, it holds all that it has taken", async () => {
      await world.sink.close();
      assert.equal(await world.read(taken.split("\n").length - 1), taken);
    });
  });
}
