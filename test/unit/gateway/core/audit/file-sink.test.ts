// A file of records that is renamed, compressed, copied and truncated while it is written: no record
// is lost, and what stands twice is what a verification counts as one.
import assert from "node:assert/strict";
import { appendFileSync, existsSync, readFileSync, renameSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { copyFile, mkdtemp, rename, rm, truncate, unlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, suite, test } from "node:test";
import { createChain } from "@claviger/gateway-core/src/audit/chain.ts";
import { createFileSink } from "@claviger/gateway-core/src/audit/file-sink.ts";
import type { AuditSink } from "@claviger/gateway-core/src/audit/port.ts";
import { entry, found, key, type Lines, verify } from "./records.ts";

let dir: string;
let path: string;
let n = 0;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), "claviger-audit-"));
});
after(() => rm(dir, { recursive: true, force: true }));
beforeEach(() => {
  path = join(dir, `audit-${++n}.jsonl`);
});

function linesOf(file: string): Lines {
  return readFileSync(file, "utf8").split("\n").slice(0, -1);
}

/** Writes records until it is told to stop. */
function startWriting(sink: AuditSink) {
  const chain = createChain(() => key);
  let isStopped = false;
  let written = 0;
  const run = async (): Promise<void> => {
    while (!isStopped) {
      const batch = Array.from({ length: 3 }, () => chain.append(entry(written++)));
      await sink.write(Buffer.from(batch.join("")));
    }
  };
  const done = run();
  return {
    written: () => written,
    async stop(): Promise<void> {
      isStopped = true;
      await done;
      await sink.close();
    },
    async progress(): Promise<void> {
      const from = written;
      while (written < from + 30) await new Promise(setImmediate);
    },
  };
}

suite("a file sink under a log rotation", () => {
  test("renamed and removed at once, again and again: what the reader of the renamed file finds and what comes after is all", async () => {
    const writing = startWriting(createFileSink({ path, fsync: false }));
    const files: Lines[] = [];
    for (let round = 0; round < 40; round++) {
      await writing.progress();
      await rename(path, `${path}.1`);
      // As gzip does: what is written after this is lost with the file.
      files.push(linesOf(`${path}.1`));
      await unlink(`${path}.1`);
    }
    await writing.stop();
    files.push(linesOf(path));
    const report = await verify(files);
    assert.deepEqual(found(report), []);
    assert.deepEqual(
      report.chains.map(({ first, last, records }) => [first, last, records]),
      [[0, writing.written() - 1, writing.written()]],
    );
  });

  test("copied and truncated, again and again", async () => {
    const writing = startWriting(createFileSink({ path, fsync: false }));
    const files: Lines[] = [];
    for (let round = 0; round < 20; round++) {
      await writing.progress();
      await copyFile(path, `${path}.1`);
      // What is written now is in neither.
      if (round % 2 === 0) await writing.progress();
      await truncate(path);
      // The copy may end within a line.
      files.push(readFileSync(`${path}.1`, "utf8").split("\n"));
    }
    await writing.stop();
    files.push(linesOf(path));
    const report = await verify(files);
    assert.deepEqual(found(report), []);
    assert.equal(report.chains[0]?.records, writing.written());
  });
});

suite("a file sink between two writes", () => {
  test("a file that was moved away is made again, with mode 0600", async () => {
    const sink = createFileSink({ path, fsync: true });
    await sink.write(Buffer.from("a\n"));
    renameSync(path, `${path}.1`);
    await sink.write(Buffer.from("b\n"));
    await sink.close();
    // Both, where the first look that can tell is the one after the write.
    assert.equal(linesOf(`${path}.1`)[0], "a");
    assert.deepEqual(linesOf(path), ["b"]);
    assert.equal(statSync(path).mode & 0o777, 0o600);
  });

  test("reopen makes the file at once, and lets go of the one that was moved away", async () => {
    const sink = createFileSink({ path, fsync: false });
    await sink.write(Buffer.from("a\n"));
    renameSync(path, `${path}.1`);
    assert.ok(!existsSync(path));
    await sink.reopen?.();
    assert.ok(existsSync(path));
    await sink.write(Buffer.from("b\n"));
    await sink.close();
    assert.deepEqual([linesOf(`${path}.1`), linesOf(path)], [["a"], ["b"]]);
  });

  test("what was written in the last seconds before a truncation is written again, at the latest at the end", async () => {
    const sink = createFileSink({ path, fsync: false });
    await sink.write(Buffer.from("a\n"));
    truncateSync(path);
    await sink.write(Buffer.from("b\n"));
    assert.deepEqual(linesOf(path), ["a", "b"]);
    truncateSync(path);
    await sink.close();
    assert.deepEqual(linesOf(path), ["a", "b"]);
  });

  test("without a write it finds out by itself that its file was truncated", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const sink = createFileSink({ path, fsync: false });
    await sink.write(Buffer.from("a\n"));
    truncateSync(path);
    t.mock.timers.tick(1000);
    // Takes its turn after the look.
    await sink.reopen?.();
    assert.deepEqual(linesOf(path), ["a"]);
    await sink.close();
  });

  test("a fragment that another process left gets a line of its own", async () => {
    const chain = createChain(() => key);
    const whole = chain.append(entry(1));
    writeFileSync(path, `${whole}{"time":"20`);
    const sink = createFileSink({ path, fsync: false });
    const last = await sink.last?.();
    assert.deepEqual(last, chain.head(), "and its last whole record is known");
    await sink.write(Buffer.from("b\n"));
    await sink.close();
    assert.deepEqual(linesOf(path), [whole.trimEnd(), '{"time":"20', "b"]);
  });

  test("a file of nothing but fragments, an empty one and a missing one have no last record", async () => {
    const sink = createFileSink({ path, fsync: false });
    assert.equal(await sink.last?.(), undefined);
    writeFileSync(path, "");
    assert.equal(await sink.last?.(), undefined);
    appendFileSync(path, "{}\nx\n{");
    assert.equal(await sink.last?.(), undefined);
    await sink.close();
  });
});
