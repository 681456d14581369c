// The lab's processes: stopped for certain, started again on the same command line, ended even when
// the lab is killed.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, suite, test } from "node:test";
import { claimDir, releaseDir } from "../../lab/dir.ts";
import { startTimeOf } from "../../lab/pid.ts";
import { createProcessGroup, readyLine, until } from "../../lab/process-group.ts";

const dir = mkdtempSync(join(tmpdir(), "processes-"));
after(() => rmSync(dir, { recursive: true, force: true }));

const waits = `console.log(JSON.stringify({ event: "ready", pid: process.pid })); setInterval(() => {}, 1000)`;
const argv = [process.execPath, "-e", waits] as const;
function isAlive(pid: number): boolean {
  return startTimeOf(pid) !== undefined;
}

suite("a process group", () => {
  test("ends all that it started, and starts nothing after that", async () => {
    const processes = createProcessGroup(dir);
    const parts = [processes.start("one", argv), processes.start("two", argv)];
    await Promise.all(parts.map((proc) => readyLine(proc)));
    await processes.stopAll();
    assert.deepEqual(
      parts.map(({ pid }) => isAlive(pid)),
      [false, false],
    );
    assert.throws(() => processes.start("three", argv), /everything is being stopped/);
  });

  test("stops a part twice without forgetting another", async () => {
    const processes = createProcessGroup(dir);
    const [first, second] = [processes.start("first", argv), processes.start("second", argv)];
    await processes.stop(first);
    await processes.stop(first);
    await processes.stopAll();
    assert.ok(!isAlive(second.pid));
  });

  test("starts a part again, whose ready line is its own", async () => {
    const processes = createProcessGroup(dir);
    const first = processes.start("again", argv);
    assert.equal((await readyLine(first))["pid"], first.pid);
    const second = await processes.restart(first);
    assert.notEqual(second.pid, first.pid);
    assert.equal((await readyLine(second))["pid"], second.pid);
    await processes.stopAll();
  });

  test("kills what does not end by itself, and what is frozen", async () => {
    const processes = createProcessGroup(dir);
    const stubborn = processes.start("stubborn", [process.execPath, "-e", `process.on("SIGTERM", () => {}); ${waits}`]);
    await readyLine(stubborn);
    await processes.stop(stubborn, 100);
    const frozen = processes.start("frozen", argv);
    await readyLine(frozen);
    process.kill(frozen.pid, "SIGSTOP");
    await processes.stopAll();
    assert.ok(!isAlive(stubborn.pid) && !isAlive(frozen.pid));
  });

  test("says why a part is not ready, with its last words", async () => {
    const processes = createProcessGroup(dir);
    const ends = processes.start("ends", [process.execPath, "-e", `console.error("no such port"); process.exit(3)`]);
    await assert.rejects(readyLine(ends), /ends to be ready: ends ended; its last words:\nno such port/);
    const killed = processes.start("killed", argv);
    await readyLine(killed);
    process.kill(killed.pid, "SIGKILL");
    await assert.rejects(
      until("an answer", killed, () => undefined),
      /killed ended/,
    );
    assert.throws(() => processes.start("nothing", [join(dir, "no-such-program")]), /cannot be started/);
    await processes.stopAll();
  });

  test("leaves no process when the lab itself is killed", async () => {
    const script = join(dir, "lab.ts");
    writeFileSync(
      script,
      `import { createProcessGroup, readyLine } from ${JSON.stringify(join(import.meta.dirname, "../../lab/process-group.ts"))};
const part = createProcessGroup(${JSON.stringify(dir)}).start("orphan", ${JSON.stringify(argv)});
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
