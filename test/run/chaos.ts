// `npm run chaos`: faults under steady load. See `--help`.
import { spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Need } from "../chaos/fault.ts";
import { hasEarlier } from "../chaos/earlier.ts";
import { hasFaketime } from "../chaos/faults/clocks.ts";
import { chosen, faults, shortIds } from "../chaos/faults.ts";
import { pageOf, problemsOf, formatReport } from "../chaos/report.ts";
import { runSession } from "../chaos/session.ts";
import { installBinaries } from "../parts/install.ts";
import { root } from "./files.ts";
import { runProgram, say, UsageError } from "./program.ts";

const usage = `npm run chaos -- [--short] [--write] [--keep] [FAULT...]

Starts an OpenBao of three nodes, Redis, two gateways, three shims, etcd and a kube-apiserver, keeps them under load, and causes one fault
after the other; the key is rotated in the middle of each. Prints a table in Markdown. The status is 1 where an answer was wrong or lost, or
a call failed although a replica of everything was left. All faults take about ten minutes; as root on Linux, in namespaces of their own.

  FAULT     only the faults whose names contain one of these words:
            ${faults.map(({ id }) => id).join(", ")}
  --short   a few of them, two seconds each
  --write   writes the rows into docs/chaos.md
  --keep    leaves the folder with the logs
`;

/** Set where this process has namespaces of its own. */
const mark = "CLAVIGER_CHAOS_ISOLATED";
const hold = { usual: 5000, short: 2000 } as const;

/** This program once more, in namespaces that end with it. */
async function isolate(signal: AbortSignal): Promise<number> {
  const child = spawn("unshare", ["--net", "--mount", "--", process.execPath, ...process.argv.slice(1)], {
    stdio: "inherit",
    env: { ...process.env, [mark]: "1" },
  });
  signal.addEventListener("abort", () => child.kill("SIGTERM"));
  return await new Promise((resolve, reject) => {
    child.once("error", reject).once("close", (code) => resolve(code ?? 1));
  });
}

function canIsolate(): boolean {
  return process.platform === "linux" && process.getuid?.() === 0 && existsSync("/dev/net/tun");
}

function parse(args: string[]) {
  const { values, positionals } = parseArgs({
    args,
    options: {
      short: { type: "boolean", default: false },
      write: { type: "boolean", default: false },
      keep: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
    allowPositionals: true,
  });
  if (values.help) return undefined;
  if (values.short && positionals.length > 0) throw new UsageError("--short names its faults itself");
  if (values.write && values.short) throw new UsageError("--write does not go with --short");
  const list = values.short ? faults.filter(({ id }) => shortIds.includes(id)) : chosen(positionals);
  return { ...values, faults: list };
}

async function run(options: NonNullable<ReturnType<typeof parse>>, signal: AbortSignal): Promise<number> {
  const isIsolated = process.env[mark] === "1";
  if (!isIsolated) {
    await installBinaries({ signal });
    if (canIsolate() && options.faults.some(({ needs }) => needs?.includes("isolation"))) return await isolate(signal);
  }
  const has = new Set<Need>([
    ...(isIsolated ? (["isolation"] as const) : []),
    ...(hasFaketime ? (["faketime"] as const) : []),
    ...(hasEarlier() ? (["earlier"] as const) : []),
  ]);
  const began = performance.now();
  const session = await runSession({
    faults: options.faults,
    holdMs: options.short ? hold.short : hold.usual,
    has,
    say,
    signal,
    isKept: options.keep,
  });
  const { results, lost, error } = session;
  process.stdout.write(`${formatReport(results)}\n`);
  if (options.write && error === undefined) {
    const page = join(root, "docs", "chaos.md");
    writeFileSync(page, pageOf(results, faults, lost, existsSync(page) ? readFileSync(page, "utf8") : ""));
  }
  const problems = [
    ...problemsOf(results),
    ...(lost > 0 ? [`${lost} of all that was given out are lost at the end`] : []),
    ...(error === undefined ? [] : [`the run ended early: ${error.stack}`]),
  ];
  for (const problem of problems) say(problem);
  say(`${Math.round((performance.now() - began) / 1000)} s`);
  return problems.length > 0 ? 1 : 0;
}

await runProgram({ usage, parse, run });
