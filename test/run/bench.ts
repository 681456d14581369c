// `npm run bench`: Claviger as shipped beside a direct plugin, in the same run. See `--help`.
import { parseArgs } from "node:util";
import { runComparison } from "../bench/compare/run.ts";
import { installBinaries } from "../parts/install.ts";
import { runProgram, say, UsageError } from "./program.ts";

const usage = `npm run bench -- [--quick] [--rounds N] [--seconds N] [--charts DIR] [--socket unix:PATH [--pid PID]]

Starts a direct KMS plugin (test/bench/direct, Go) and Claviger's shim and gateway as shipped, each with a real OpenBao of its own, and
gives each load to both in turn: single calls, storms of Decrypts and Encrypts, starts. Prints a table in Markdown with ratios and goals.
Run it on a machine that does nothing else.

  --rounds N          rounds of each load (3); the table has medians
  --seconds N         how long each load runs in each round (5)
  --charts DIR        writes speed.svg, latency.svg, cost.svg and process.svg there
  --socket unix:PATH  measures another KMS v2 plugin, too, that listens there already
  --pid PID           the process of that plugin, for its CPU and memory
  --quick             a fraction of a second each: shows that it runs, its figures mean nothing
`;

function numberOf(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new UsageError(`--${name} must be a number above 0`);
  return value;
}

function parseOptions(args: string[]) {
  const { values } = parseArgs({
    args,
    options: {
      quick: { type: "boolean", default: false },
      rounds: { type: "string", default: "3" },
      seconds: { type: "string", default: "5" },
      charts: { type: "string" },
      socket: { type: "string" },
      pid: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return undefined;
  const { charts, socket, pid } = values;
  if (socket !== undefined && !socket.startsWith("unix:")) throw new UsageError("--socket must be unix:PATH");
  if (pid !== undefined && socket === undefined) throw new UsageError("--pid goes with --socket");
  const path = socket?.replace(/^unix:(?:\/\/(?=\/))?/, "");
  return {
    ...(values.quick
      ? { rounds: 1, seconds: 0.3, seeds: 256, starts: 1 }
      : {
          rounds: numberOf("rounds", values.rounds),
          seconds: numberOf("seconds", values.seconds),
          seeds: 4096,
          starts: 5,
        }),
    ...(charts !== undefined && { charts }),
    ...(path !== undefined && { other: { socket: path, pid: pid === undefined ? undefined : numberOf("pid", pid) } }),
  };
}

await runProgram({
  usage,
  parse: parseOptions,
  async run(options, signal) {
    await installBinaries({ signal });
    process.stdout.write(`${await runComparison({ ...options, signal, say })}\n`);
    return 0;
  },
});
