#!/usr/bin/env node
// `claviger`: what operators run. The one file of the CLI that touches the process.
import { homedir } from "node:os";
import { fileProblem } from "@claviger/proto/runtime/file-problem.ts";
import { runCli } from "./run.ts";

/** As a shell has it for a program that SIGPIPE has ended: whoever read what was printed has enough. */
const brokenPipe = 141;
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(brokenPipe);
  process.stderr.write(`claviger: standard output cannot be written (${fileProblem(error)})\n`);
  process.exit(1);
});
process.stderr.on("error", () => {});

process.exitCode = await runCli(process.argv.slice(2), {
  out: (line) => process.stdout.write(`${line}\n`),
  err: (line) => process.stderr.write(`${line}\n`),
  env: process.env,
  home: homedir(),
  machine: { pid: process.pid, setUmask: (mask) => process.umask(mask) },
});

// A connection that is still being made, to a server that says nothing, would keep the process for as long as
// that is so: nobody waits for it any more.
setInterval(() => {
  if (process.stdout.writableLength === 0 && process.stderr.writableLength === 0) process.exit();
}, 200).unref();
