// Output that nobody reads, or whose reader has gone: the process goes on and ends when it is told to.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

const log = join(import.meta.dirname, "..", "..", "..", "..", "proto", "runtime", "log.ts");

/** A process that logs without end, says on standard output how it fares, and ends at SIGTERM. */
const program = `
import { createLog } from ${JSON.stringify(log)};
const log = createLog("test", "info");
let turns = 0;
setInterval(() => {
  for (let i = 0; i < 200; i++) log.info({ event: "noise", text: "x".repeat(500) }, "noise");
  turns += 1;
  process.stdout.write(turns + "\\n");
}, 5);
process.on("SIGTERM", () => { log.info({ event: "stopped" }, "stopped"); process.exit(0); });
`;

function start(t: TestContext) {
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  t.after(() => child.kill("SIGKILL"));
  let turns = 0;
  const waiting: { readonly at: number; readonly resolve: () => void }[] = [];
  child.stdout.on("data", (chunk: Buffer) => {
    turns = Number(chunk.toString().trimEnd().split("\n").at(-1));
    for (const { at, resolve } of waiting) if (turns >= at) resolve();
  });
  return { child, reached: (at: number) => new Promise<void>((resolve) => waiting.push({ at, resolve })) };
}

test("a log that nobody reads stops neither the process nor its end, and says what it dropped", async (t) => {
  const { child, reached } = start(t);
  // A pipe takes 64 KiB; each turn writes 100 KiB.
  await reached(50);
  let text = "";
  child.stderr.on("data", (chunk: Buffer) => (text += chunk.toString()));
  await reached(80);
  assert.match(text, /"event":"log-lines-dropped","count":\d+/);
  child.stderr.pause();
  await reached(120);
  child.kill("SIGTERM");
  const [code] = (await once(child, "exit")) as [number];
  assert.equal(code, 0);
});

test("a log whose reader has gone ends nothing", async (t) => {
  const { child, reached } = start(t);
  await reached(2);
  child.stderr.destroy();
  await reached(20);
  child.kill("SIGTERM");
  const [code] = (await once(child, "exit")) as [number];
  assert.equal(code, 0);
});
