// `npm run threat-model`: attacks the real parts and writes what it finds to docs/threat-model.md.
// See `--help`.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { MissingError } from "../parts/command.ts";
import { installBinaries } from "../parts/install.ts";
import { differences, render } from "../threat-model/document.ts";
import { runThreatModel } from "../threat-model/run.ts";
import { root } from "./files.ts";

const file = join(root, "docs", "threat-model.md");
const usage = `npm run threat-model [-- --check]

Starts real etcd, kube-apiserver, OpenBao, Redis, gateway and shim, SOPS and External Secrets, takes what an attacker would have in each place, searches or uses it,
and writes what was found to docs/threat-model.md. Needs root, for the memory of processes and an encrypted file system.

  --check   writes nothing; fails where the document says something else
`;

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

async function main(): Promise<number> {
  const stopping = new AbortController();
  const { signal } = stopping;
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(name, () => stopping.abort());
  try {
    const { values } = parseArgs({ options: { check: { type: "boolean" }, help: { type: "boolean", short: "h" } } });
    if (values.help === true) {
      process.stdout.write(usage);
      return 0;
    }
    await installBinaries({ signal, isAll: true });
    const pieces = await runThreatModel({ signal, say, isAll: true });
    const text = render(pieces);
    if (values.check !== true) {
      writeFileSync(file, text);
      process.stdout.write(text);
      return 0;
    }
    const found = differences(readFileSync(file, "utf8"), pieces, true);
    for (const one of found) say(one);
    return found.length === 0 ? 0 : 1;
  } catch (error) {
    if (signal.aborted) return 130;
    const isUsage = error instanceof TypeError && "code" in error;
    if (isUsage) say(`${error.message}\n\n${usage}`);
    else if (error instanceof MissingError) say(error.message);
    else say(`The threat model failed: ${error instanceof Error ? error.stack : String(error)}`);
    return isUsage ? 2 : 1;
  }
}

process.exitCode = await main();
