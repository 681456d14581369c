// `npm run demo -- [--socket PATH] [--exit]`: the main job, step by step. The composition
// root: starts everything, and stops it on any way out.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Secret } from "@claviger/proto/runtime/secret.ts";
import { limits } from "@claviger/proto/wire/protocol.ts";
import { createKmsClient } from "@claviger/cli/src/kms-client.ts";
import { runCli } from "@claviger/cli/src/run.ts";
import { runSteps } from "../demo/steps.ts";
import { enrollNode } from "../demo/enroll.ts";
import { buildConsole } from "../../infra/console.ts";
import { createFleet, type KeyPlace, ours, other } from "../demo/setup.ts";
import { createOutput } from "../demo/output.ts";
import { key, mount, prepareVault } from "../demo/vault.ts";
import { createProcessGroup, type LabProcess, readyLine, tailOf } from "../lab/process-group.ts";

const usage = `npm run demo -- [--socket PATH] [--exit]

Shows what Claviger does: starts a gateway, the fleet service and a shim, acts as a kube-apiserver, and explains each step.

  --socket PATH   where the shim's socket goes (default: in the demo's temporary directory)
  --exit          end after the last step instead of serving on
  --help          print this

The key is in an embedded key file, or in Vault or OpenBao when VAULT_ADDR is set (with VAULT_TOKEN; VAULT_NAMESPACE and
VAULT_CACERT are honoured): the demo then uses a Transit mount '${mount}' of its own.
`;

const output = createOutput(process.stdout);
function repository(path: string): string {
  return fileURLToPath(new URL(`../../${path}`, import.meta.url));
}

function env(name: string): string | undefined {
  return process.env[name] === "" ? undefined : process.env[name];
}

/** Undone in reverse order; each may be done twice. */
const undo: (() => Promise<unknown>)[] = [];

async function openKey(): Promise<{
  readonly place: KeyPlace;
  readonly say: readonly string[];
  readonly remove: readonly string[];
  readonly where: string;
}> {
  const [addr, token] = [env("VAULT_ADDR"), env("VAULT_TOKEN")];
  if (addr === undefined)
    return {
      place: { kind: "embedded" },
      say: [
        "in a file of the gateway's (the embedded backend). Set VAULT_ADDR and VAULT_TOKEN to see it with Vault or OpenBao",
      ],
      remove: [],
      where: "in the gateway's key file and nowhere else",
    };
  if (token === undefined)
    throw new Error("VAULT_ADDR is set but VAULT_TOKEN is not: the demo needs a token that may make a Transit mount");
  const [namespace, caFile] = [env("VAULT_NAMESPACE"), env("VAULT_CACERT")];
  const ca = caFile === undefined ? undefined : await readFile(caFile, "utf8");
  const prepared = await prepareVault({
    addr,
    token: new Secret(token),
    ...(namespace === undefined ? {} : { namespace }),
    ...(ca === undefined ? {} : { ca }),
  });
  undo.push(() => prepared.release());
  return {
    place: {
      kind: "vault",
      addr,
      token: prepared.gatewayToken,
      mount,
      key,
      ...(namespace === undefined ? {} : { namespace }),
      ...(caFile === undefined ? {} : { caFile: resolve(caFile) }),
    },
    say: [`in Transit at ${addr}; it never leaves there`, ...prepared.done],
    remove: prepared.remove,
    where: `in Vault (${mount}/keys/${key}) and never leaves it`,
  };
}

function claviger(config: string) {
  return async (...args: readonly string[]): Promise<void> => {
    output.command(`npx claviger ${args.join(" ")} --config ${config}`);
    const say = (text: string): void => text.split("\n").forEach((line) => output.say(line));
    const status = await runCli([...args, "--config", config], {
      out: say,
      err: say,
      env: process.env,
      home: homedir(),
    });
    if (status !== 0) throw new Error(`claviger ${args.join(" ")} ended with status ${status}`);
  };
}

async function run(
  socketOption: string | undefined,
  signal: AbortSignal,
  onDeath: (why: string) => void,
): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "claviger-demo-"));
  undo.push(() => rm(dir, { recursive: true, force: true }));
  const socket = resolve(socketOption ?? join(dir, "kms.sock"));
  if (Buffer.byteLength(socket) > limits.socketPath)
    throw new Error(`--socket: the path has more than ${limits.socketPath} bytes`);

  output.heading("Claviger: the keys of a fleet of Kubernetes clusters, and no Vault credential on any of them");
  output.step("A fleet is set up: one gateway, the fleet service, two clusters");
  const { place, say, remove, where } = await openKey();
  const fleet = await createFleet({ dir, socket, place });
  const processes = createProcessGroup(dir);
  undo.push(() => processes.stopAll());
  const start = async (
    name: string,
    script: string,
    config: string,
  ): Promise<{ readonly proc: LabProcess; readonly ready: Readonly<Record<string, unknown>> }> => {
    signal.throwIfAborted();
    // Neither process gets the user's Vault token: the gateway has one of its own, the shim has
    // none.
    const proc = processes.start(name, [process.execPath, repository(script), "--config", config], {
      VAULT_TOKEN: undefined,
    });
    const ready = await readyLine(proc);
    void proc.ended.then(() => onDeath(`${name} has ended; its last words:\n${tailOf(proc)}`));
    return { proc, ready };
  };
  const gateway = await start("gateway", "gateway/server/src/main.ts", fleet.gatewayConfig);
  const gatewayUrl = String(gateway.ready["listen"]);
  const pages = join(dir, "console");
  await buildConsole(pages);
  const service = await start("fleet", "gateway/fleet/src/main.ts", await fleet.fleetConfig(gatewayUrl, pages));
  const fleetUrl = String(service.ready["listen"]);
  output.fact("directory", `${dir} (removed at the end)`);
  output.fact("gateway", `${gatewayUrl} (pid ${gateway.proc.pid}), for the clusters ${ours} and ${other}`);
  output.fact("fleet service", `${fleetUrl} (pid ${service.proc.pid}), with an authority made for this run`);
  output.fact("the key", say[0] ?? "");
  for (const line of say.slice(1)) output.fact("in Vault", line);
  await enrollNode({ output, fleet, fleetUrl, dir });
  const shim = await start("shim", "shim/src/main.ts", await fleet.shimConfig(gatewayUrl, fleetUrl));
  output.fact("shim", `unix://${socket} (pid ${shim.proc.pid})`);

  const kms = createKmsClient({ socket });
  try {
    await runSteps({
      output,
      fleet,
      kms,
      gatewayUrl,
      keyPlace: where,
      claviger: claviger(fleet.gatewayConfig),
      signal,
    });
  } finally {
    kms.close();
  }
  output.step("What next");
  if (remove.length > 0) output.fact("to remove", remove.join("; "));
  output.fact("with this demo", `npx claviger check --socket ${socket}`);
  output.fact("", `npx claviger key status ${ours} --config ${fleet.gatewayConfig}`);
  output.fact("the console", `npx claviger console --config ${fleet.contexts} (prints a link for your browser)`);
  output.fact("the real thing", "npm run lab -- --dir DIR --kubernetes (OpenBao, Redis and a real kube-apiserver)");
  output.fact("to read", "README.md, SECURITY.md");
  return socket;
}

const patienceMs = 5000;

async function stop(): Promise<void> {
  for (const step of undo.toReversed())
    await step().catch((error: unknown) => output.say(`while stopping: ${String(error)}`));
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { socket: { type: "string" }, exit: { type: "boolean" }, help: { type: "boolean" } },
  });
  if (values.help === true) {
    process.stdout.write(usage);
    return 0;
  }
  const ended = Promise.withResolvers<number>();
  const stopping = new AbortController();
  const end = (status: number): void => {
    stopping.abort();
    ended.resolve(status);
  };
  const die = (why: string): void => {
    // While everything is being stopped, the end of a process is expected.
    if (!stopping.signal.aborted) process.stderr.write(`demo: ${why}\n`);
    end(1);
  };
  // The second signal finds the first one's stop under way and changes nothing.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => end(0));
  // A closed reader (`npm run demo | head`) ends the demo as a signal does.
  process.stdout.on("error", () => end(1));
  const perform = async (): Promise<void> => {
    try {
      const socket = await run(values.socket, stopping.signal, die);
      process.stdout.write(`\nready unix://${socket}\n`);
      if (values.exit === true) end(0);
      else process.stdout.write("serving until Ctrl-C\n");
    } catch (error) {
      die(error instanceof Error ? error.message : String(error));
    }
  };
  const done = perform();
  const status = await ended.promise;
  // Steps that a signal aborts come to their end first, so that nothing is started behind our
  // back; if it hangs, it ends with its servers.
  await Promise.race([done, sleep(patienceMs, undefined, { ref: false })]);
  await stop();
  await done;
  await stop();
  return status;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`demo: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
}
