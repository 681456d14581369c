#!/usr/bin/env node
// The conformance kit: forty checks of what a real kube-apiserver demands of a KMS plugin, for any
// plugin. A release has it as the npm package kms-conformance.
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import { allChecks } from "./all.ts";
import { type Result, runChecks, type Target } from "./check.ts";
import { readTarget } from "./commands.ts";

const usage = `kms-conformance --socket PATH | --target FILE [--only 1,5-9] [--report text|json]

Asks a KMS plugin all that a kube-apiserver may ask. With --socket alone, the checks that need more than the socket are reported as 'not run'.
--target names a JSON file with the socket and commands: launch, launchUnreachable, takeoverFlag, secondSocket, rotate, recreate, propagationMs,
backend { down, up, hang, forbidDecrypt, allowDecrypt, answer, faults, calls }, logs, pid. Each command is a list of words; {socket} and {fault} are filled in.
Exits with 1 when a check fails, 0 otherwise.
`;

function selected(text: string | undefined): (id: number) => boolean {
  if (text === undefined) return () => true;
  const ranges = text.split(",").map((part) => {
    const [from = Number.NaN, to = from] = part.split("-").map(Number);
    if (!(from >= 1 && to >= from)) throw new TypeError("--only takes numbers and ranges such as 1,5-9");
    return { from, to };
  });
  return (id) => ranges.some(({ from, to }) => id >= from && id <= to);
}

const { values } = parseArgs({
  options: {
    socket: { type: "string" },
    target: { type: "string" },
    only: { type: "string" },
    report: { type: "string", default: "text" },
    help: { type: "boolean" },
  },
});

async function main(target: Target): Promise<void> {
  const isText = values.report !== "json";
  const isSelected = selected(values.only);
  // Short: a socket path has 107 bytes.
  const dir = mkdtempSync("/tmp/kms-");
  const show = ({ id, title, result, evidence, seconds }: Result): void => {
    if (isText)
      process.stdout.write(
        `${result.padEnd(8)} ${String(id).padStart(2)}  ${title}\n             ${evidence} (${seconds} s)\n`,
      );
  };
  try {
    const results = await runChecks(
      allChecks.filter(({ id }) => isSelected(id)),
      target,
      (id) => mkdtempSync(join(dir, `${id}-`)),
      show,
    );
    const count = (kind: Result["result"]): number => results.filter(({ result }) => result === kind).length;
    if (isText)
      process.stdout.write(`\n${count("pass")} passed, ${count("fail")} failed, ${count("not-run")} not run\n`);
    else process.stdout.write(`${JSON.stringify({ socket: target.socket, results }, undefined, 2)}\n`);
    process.exitCode = count("fail") > 0 ? 1 : 0;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

if (values.help === true || (values.socket === undefined) === (values.target === undefined)) {
  process.stderr.write(usage);
  process.exitCode = values.help === true ? 0 : 2;
} else {
  try {
    await main(values.target === undefined ? { socket: values.socket ?? "" } : readTarget(values.target));
  } catch (error) {
    if (!(error instanceof ConfigError) && (error as NodeJS.ErrnoException).syscall === undefined) throw error;
    process.stderr.write(`${(error as Error).message}\n`);
    process.exitCode = 2;
  }
}
