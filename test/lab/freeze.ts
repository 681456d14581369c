// Stops a process so that it does nothing more, and says so only then: after kill(2) its threads run on until
// one of them gets a core and stops the others, which is long enough for an answer on a busy machine.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";

const tries = 5000;

function isStopped(pid: number, thread: string): boolean {
  try {
    // The name of a thread, in parentheses, may hold anything.
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, "utf8");
    return /^[TtZX]$/.test(stat.slice(stat.lastIndexOf(")") + 2).charAt(0));
  } catch {
    // It has ended meanwhile.
    return true;
  }
}

/** SIGSTOP, and waits until each thread stands still, five seconds at most; let it go on with SIGCONT. */
export function freeze(pid: number): void {
  process.kill(pid, "SIGSTOP");
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (let attempt = 0; attempt < tries; attempt += 1) {
    if (readdirSync(`/proc/${pid}/task`).every((thread) => isStopped(pid, thread))) return;
    Atomics.wait(pause, 0, 0, 1);
  }
  process.kill(pid, "SIGCONT");
  assert.fail(`process ${pid} does not stop`);
}
