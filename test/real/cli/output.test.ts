// What becomes of a command whose output nobody takes: a status that says so, and no stack trace.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";

const main = join(import.meta.dirname, "..", "..", "..", "gateway", "cli", "src", "main.ts");

const run = (script: string) =>
  spawnSync("bash", ["--norc", "-c", script, "bash", process.execPath, main], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: process.env["PATH"] },
  });

test("a pipe that is closed early ends the command as SIGPIPE would, in silence", () => {
  const { stdout, stderr } = run('"$@" config schema gateway | true; echo "${PIPESTATUS[0]}"');
  assert.equal(stderr, "");
  assert.equal(stdout, "141\n");
});

test("a full disk is one sentence and status 1", () => {
  const { status, stderr } = run('"$@" config schema gateway > /dev/full');
  assert.equal(stderr, "claviger: standard output cannot be written (ENOSPC: the disk is full)\n");
  assert.equal(status, 1);
});
