// `npm run lab -- --dir DIR ...`: the real thing on loopback, until Ctrl-C.
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { type LabOptions, startLab } from "../lab/lab.ts";
import { installBinaries } from "../parts/install.ts";

const usage = `npm run lab -- --dir DIR [--backend vault|embedded] [--gateways N] [--shims N] [--clusters N] [--kubernetes] [--no-redis]

Starts OpenBao, Redis, gateways, shims and the fleet service on loopback; with --kubernetes also etcd and one kube-apiserver for each shim of cluster-1.
Shims go to the clusters in turn: the first to cluster-1. Writes DIR/lab.json, prints 'lab ready DIR/lab.json', runs until Ctrl-C.
A DIR that held a lab before is used again: what the earlier lab wrote there is removed.
`;

class UsageError extends Error {
  override readonly name = "UsageError";
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

function count(name: string, text: string): number {
  if (!/^[1-9]\d?$/.test(text)) throw new UsageError(`--${name} must be a number from 1 to 99`);
  return Number(text);
}

/**
 * What the arguments ask for; undefined when they ask for help.
 * @throws UsageError, or parseArgs' own TypeError
 */
function parseOptions(args: string[]): LabOptions | undefined {
  const { values } = parseArgs({
    args,
    options: {
      dir: { type: "string" },
      backend: { type: "string", default: "vault" },
      gateways: { type: "string", default: "1" },
      shims: { type: "string", default: "1" },
      clusters: { type: "string", default: "1" },
      kubernetes: { type: "boolean", default: false },
      "no-redis": { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return undefined;
  if (values.dir === undefined) throw new UsageError("--dir DIR is needed: the folder of the lab's files");
  if (values.backend !== "vault" && values.backend !== "embedded")
    throw new UsageError("--backend is vault or embedded");
  const [shims, clusters] = [count("shims", values.shims), count("clusters", values.clusters)];
  return {
    dir: resolve(values.dir),
    backend: values.backend,
    gateways: count("gateways", values.gateways),
    shims,
    clusters,
    kubernetes: values.kubernetes,
    redis: !values["no-redis"],
    fleet: true,
  };
}

async function main(): Promise<number> {
  let options: LabOptions | undefined;
  try {
    options = parseOptions(process.argv.slice(2));
  } catch (error) {
    say(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
    return 2;
  }
  if (options === undefined) {
    process.stdout.write(usage);
    return 0;
  }
  const stopping = new AbortController();
  const stopped = Promise.withResolvers<void>();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"])
    process.on(name, () => {
      if (!stopping.signal.aborted) say("  stopping everything ...");
      stopping.abort();
      stopped.resolve();
    });
  try {
    await installBinaries({ signal: stopping.signal });
    const lab = await startLab({
      ...options,
      signal: stopping.signal,
      onProgress: (text) => say(`  starting ${text} ...`),
    });
    process.stdout.write(`lab ready ${lab.file}\n`);
    say(
      `Try: npx claviger check --socket ${lab.shims[0]?.socket ?? ""}\n     npx claviger key status cluster-1 --lab ${lab.file}
     npx claviger node token cluster-1/node-9 --reason 'to try it' --config ${lab.fleet?.contexts ?? ""}
Ctrl-C stops everything.`,
    );
    await stopped.promise;
    await lab.stop();
    return 0;
  } catch (error) {
    if (stopping.signal.aborted) return 130;
    say(`The lab did not start: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  }
}

process.exitCode = await main();
