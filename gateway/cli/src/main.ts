#!/usr/bin/env node
// `claviger`: what operators run. The one file of the CLI that touches the process.
import { homedir } from "node:os";
import { runCli } from "./run.ts";

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
