// The contract of the AuditSink port, for files and descriptors and for the fake of the unit tests.
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { lineHash } from "@claviger/gateway-core/src/audit/chain.ts";
import type { AuditSink } from "@claviger/gateway-core/src/audit/port.ts";
import { processLines } from "../unit/gateway/core/audit/records.ts";

export type SinkWorld = {
  readonly sink: AuditSink;
  /** All that it has taken, as whoever reads it later finds it. */
  read(): Promise<string>;
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
    const genuine = processLines(6, 0);
    const bytesOf = (...lines: readonly string[]): Buffer => Buffer.from(lines.map((line) => `${line}\n`).join(""));
    before(async () => {
      world = await start();
    });
    after(() => world.stop());

    test("it says who it is and which methods it has, and is asked what an earlier process left", async () => {
      const { sink } = world;
      assert.match(sink.name, /\S/);
      assert.deepEqual(
        { reopen: sink.reopen !== undefined, last: sink.last !== undefined, comesBack: world.broken !== undefined },
        offers,
      );
      assert.equal(await sink.last?.(), undefined);
    });

    test("what is written can be read when the write resolves, whole and in order", async () => {
      const [first = "", second = "", third = ""] = genuine.lines;
      await world.sink.write(bytesOf(first));
      assert.equal(await world.read(), `${first}\n`);
      await world.sink.write(bytesOf(second, third));
      assert.equal(await world.read(), `${first}\n${second}\n${third}\n`);
    });

    // Every sink of a log is given the same buffer.
    test("it leaves the bytes as they are", async () => {
      const [, , , line = ""] = genuine.lines;
      const bytes = bytesOf(line);
      await world.sink.write(bytes);
      assert.equal(bytes.toString(), `${line}\n`);
    });

    if (offers.reopen)
      test("opened anew, it goes on where it was", async () => {
        const before = await world.read();
        const [, , , , line = ""] = genuine.lines;
        await world.sink.reopen?.();
        await world.sink.write(bytesOf(line));
        assert.equal(await world.read(), `${before}${line}\n`);
      });

    if (offers.comesBack)
      test("where nothing can be written it rejects with why, and takes what is written once it can", async () => {
        const { broken, sink } = world;
        const [, , , , , line = ""] = genuine.lines;
        await broken?.breakIt();
        await assert.rejects(
          sink.write(bytesOf(line)),
          (error) => error instanceof Error && /^E[A-Z]+/.test(error.message),
        );
        await broken?.mend();
        const last = genuine.lines.at(-1) ?? "";
        await sink.write(bytesOf(last));
        assert.ok((await world.read()).endsWith(`\n${last}\n`));
      });

    if (offers.last)
      test("the last whole record is found", async () => {
        const last = genuine.lines.at(-2) ?? "";
        await world.sink.write(bytesOf(last));
        assert.equal((await world.sink.last?.())?.hash, lineHash(last));
        const end = genuine.lines.at(-1) ?? "";
        await world.sink.write(bytesOf(end));
        assert.deepEqual(await world.sink.last?.(), genuine.head);
      });

    test("closed, it holds all that it has taken", async () => {
      const before = await world.read();
      await world.sink.close();
      assert.equal(await world.read(), before);
    });
  });
}
