// The lab's processes: stopped for certain, started again on the same command line, ended even when the lab is killed.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, suite, test } from "node:test";
import { claimDir, releaseDir } from "../../lab/dir.ts";
import { startTimeOf } from "../../lab/pid.ts";
import { createNursery, readyLine, until } from "../../lab/process.ts";

const dir = mkdtempSync(join(tmpdir(), "nursery-"));
after(() => rmSync(dir, { recursive: true, force: true }));

const waits = `console.log(JSON.stringify({ event: "ready", pid: process.pid })); setInterval(() => {}, 1000)`;
const argv = [process.execPath, "-e", waits] as const;
const isAlive = (pid: number): boolean => startTimeOf(pid) !== undefined;

suite("a nursery", () => {
  test("ends all that it started, and starts nothing after that", async () => {
    const nursery = createNursery(dir);
    const parts = [nursery.start("one", argv), nursery.start("two", argv)];
    await Promise.all(parts.map((part) => readyLine(part)));
    await nursery.stopAll();
    assert.deepEqual(
      parts.map(({ pid }) => isAlive(pid)),
      [false, false],
    );
    assert.throws(() => nursery.start("three", argv), /everything is being stopped/);
  });

  test("stops a part twice without forgetting another", async () => {
    const nursery = createNursery(dir);
    const [first, second] = [nursery.start("first", argv), nursery.start("second", argv)];
    await nursery.stop(first);
    await nursery.stop(first);
    await nursery.stopAll();
    assert.ok(!isAlive(second.pid));
  });

  test("starts a part again, whose ready line is its own", async () => {
    const nursery = createNursery(dir);
    const first = nursery.start("again", argv);
    assert.equal((await readyLine(first))["pid"], first.pid);
    const second = await nursery.restart(first);
    assert.notEqual(second.pid, first.pid);
    assert.equal((await readyLine(second))["pid"], second.pid);
    await nursery.stopAll();
  });

  test("kills what does not end by itself, and what is frozen", async () => {
    const nursery = createNursery(dir);
    const stubborn = nursery.start("stubborn", [process.execPath, "-e", `process.on("SIGTERM", () => {}); ${waits}`]);
    await readyLine(stubborn);
    await nursery.stop(stubborn, 100);
    const frozen = nursery.start("frozen", argv);
    await readyLine(frozen);
    process.kill(frozen.pid, "SIGSTOP");
    await nursery.stopAll();
    assert.ok(!isAlive(stubborn.pid) && !isAlive(frozen.pid));
  });

  test("says why a part is not ready, with its last words", async () => {
    const nursery = createNursery(dir);
    const ends = nursery.start("ends", [process.execPath, "-e", `console.error("no such port"); process.exit(3)`]);
    await assert.rejects(readyLine(ends), /ends to be ready: ends ended; its last words:\nno such port/);
    const killed = nursery.start("killed", argv);
    await readyLine(killed);
    process.kill(killed.pid, "SIGKILL");
    await assert.rejects(
      until("an answer", killed, () => undefined),
      /killed ended/,
    );
    assert.throws(() => nursery.start("nothing", [join(dir, "no-such-program")]), /cannot be started/);
    await nursery.stopAll();
  });

  test("leaves no process when the lab itself is killed", async () => {
    const script = join(dir, "lab.ts");
    writeFileSync(
      script,
      `import { createNursery, readyLine } from ${JSON.stringify(join(import.meta.dirname, "../../lab/process.ts"))};
const part = createNursery(${JSON.stringify(dir)}).start("orphan", ${JSON.stringify(argv)});
await readyLine(part);
console.log(part.pid);
setInterval(() => {}, 1000);`,
    );
    const lab = spawn(process.execPath, [script], { stdio: ["ignore", "pipe", "inherit"] });
    const [line] = (await once(lab.stdout, "data")) as [Buffer];
    const pid = Number(line.toString());
    assert.ok(isAlive(pid));
    lab.kill("SIGKILL");
    await until("the orphan to end", undefined, () => (isAlive(pid) ? undefined : true), 5000);
  });
});

suite("the folder of a lab", () => {
  test("is refused while a lab runs there, and emptied of what an ended one wrote, of nothing else", () => {
    const home = join(dir, "home");
    claimDir(home);
    assert.throws(() => claimDir(home), /a lab runs in .*home \(process \d+\)/);
    for (const name of ["lab.json", "clusters.yaml", "notes.txt"]) writeFileSync(join(home, name), "x");
    releaseDir(home);
    assert.ok(existsSync(join(home, "lab.json")), "its files stay until the next lab");
    claimDir(home);
    assert.deepEqual(
      ["lab.json", "clusters.yaml", "notes.txt"].map((name) => existsSync(join(home, name))),
      [false, false, true],
    );
    assert.match(readFileSync(join(home, ".claviger-lab"), "utf8"), new RegExp(`^${process.pid} `));
  });

  test("is refused when its sockets' paths would be too long", () => {
    assert.throws(() => claimDir(join(dir, "x".repeat(80))), /too long a path for unix sockets/);
  });
});
