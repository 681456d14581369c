#!/usr/bin/env node
// claviger-shim: kube-apiserver's KMS plugin. Owns a socket, a client certificate and a list of
// gateways; holds no key and no Vault credential. The composition root: constructs everything,
// reads from top to bottom.
import { parseArgs } from "node:util";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import { createLog } from "@claviger/proto/runtime/log.ts";
import { openOperationsServer, urlOf } from "@claviger/proto/runtime/operations.ts";
import { openTracing } from "@claviger/proto/runtime/open-tracing.ts";
import { watchFiles } from "@claviger/proto/runtime/watch.ts";
import packageJson from "../package.json" with { type: "json" };
import { flagNames, loadShimConfig, overrides, type ShimConfig } from "./config.ts";
import { createDecrypts } from "./decrypts.ts";
import { createKmsMethods } from "./kms.ts";
import { createMetrics } from "./metrics.ts";
import { createKmsSocketServer } from "./server.ts";
import { claimSocket, SocketError } from "./socket.ts";
import { createStateFile } from "./state-file.ts";
import { createStatusKeeper, readinessOf } from "./status.ts";
import { readCredentials } from "./tls.ts";
import { createUpstream } from "./upstream.ts";

const usage = `claviger-shim --config FILE

The KMS plugin of a kube-apiserver: serves KMS v2 and v1beta1 on a unix socket from remote gateways.

  --config FILE        configuration (YAML); see infra/shim/shim.yaml for every setting
  --takeover           replace a shim that is serving the socket, without a gap; stop that one afterwards
  --check              read and check the configuration, then exit
  --version, --help

Each of these overrides the file, and so does its environment variable (--socket is CLAVIGER_SHIM_SOCKET):
${Object.entries(overrides)
  .map(([name, { help }]) => `  --${`${name} VALUE`.padEnd(24)} ${help}`)
  .join("\n")}
`;

/** kubelet and systemd give 30 seconds; a call under way has at most 30 itself. */
const drainMs = 20_000;

async function run(load: () => ShimConfig, configFile: string | undefined, takeover: boolean): Promise<void> {
  const config = load();
  const credentials = readCredentials(config.tls);
  const log = createLog("shim", config.log.level);
  const metrics = createMetrics();
  const tracing = await openTracing("claviger-shim", packageJson.version, config.tracing);
  const upstream = createUpstream(config.gateways, credentials.tls, metrics, tracing.traceparent);
  const stateFile = createStateFile(config.stateFile ?? `${config.socket.path}.state`, credentials.cluster, log);
  const { healthyFor: healthyForMs, degradedFor: degradedForMs } = config.outage;
  const status = createStatusKeeper({ upstream, stateFile, healthyForMs, degradedForMs, log });
  metrics.observeOutage(status.outage);
  const kms = createKmsMethods({
    upstream,
    decrypts: createDecrypts(upstream, metrics),
    status,
    version: packageJson.version,
  });
  const server = createKmsSocketServer({
    kms,
    metrics,
    tracing,
    log,
    maxCalls: config.limits.calls,
    maxConnections: config.limits.connections,
  });

  const { path, mode, group } = config.socket;
  const setUmask = (mask: number): number => process.umask(mask);
  const socket = await claimSocket(server.socketServer, {
    path,
    mode: Number.parseInt(mode, 8),
    group,
    takeover,
    setUmask,
  });
  const health = await openOperationsServer({
    ...config.health,
    readiness: () => readinessOf(status),
    metrics: metrics.render,
  }).catch((error: unknown) => {
    socket.release();
    throw error;
  });

  let { tls: pems } = config;
  const reload = (): void => {
    const next = load();
    upstream.configure(next.gateways, readCredentials(next.tls).tls);
    pems = next.tls;
  };
  const files = (): readonly string[] => [
    pems.cert,
    pems.key,
    pems.ca,
    ...(configFile === undefined ? [] : [configFile]),
  ];
  const watch = watchFiles({ files, onChange: reload, log });

  let isStopping = false;
  const stop = async (signal: string): Promise<void> => {
    if (isStopping) return;
    isStopping = true;
    log.info({ event: "draining", signal }, "finishing what is under way");
    watch.close();
    socket.release();
    await server.drain(drainMs);
    await upstream.close();
    await health.close();
    await tracing.close();
    log.info({ event: "stopped" }, "stopped");
    process.exit(0);
  };
  process.on("SIGTERM", (signal) => void stop(signal));
  process.on("SIGINT", (signal) => void stop(signal));
  log.info(
    {
      event: "ready",
      socket: path,
      health: urlOf("http", config.health.address, health.port),
      version: packageJson.version,
    },
    "ready",
  );
  // The first Status is asked for now: kube-apiserver's first one then finds warm connections.
  status.status().catch(() => {});
}

function readFlags() {
  const options = {
    config: { type: "string" },
    takeover: { type: "boolean" },
    check: { type: "boolean" },
    version: { type: "boolean" },
    help: { type: "boolean" },
    ...Object.fromEntries(flagNames.map((name) => [name, { type: "string" as const }])),
  } as const;
  try {
    return parseArgs({ options }).values;
  } catch (error) {
    throw new ConfigError("command line", [`${(error as Error).message.split(". ")[0] ?? ""}; see --help`]);
  }
}

try {
  const values = readFlags();
  const flags = Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
  );
  const load = (warn?: (line: string) => void): ShimConfig => loadShimConfig(values.config, flags, process.env, warn);
  if (values.help === true) process.stdout.write(usage);
  else if (values.version === true) process.stdout.write(`${packageJson.version}\n`);
  else if (values.check === true) readCredentials(load().tls);
  else await run(load, values.config, values.takeover === true);
} catch (error) {
  const isExpected =
    error instanceof ConfigError ||
    error instanceof SocketError ||
    (error as NodeJS.ErrnoException).syscall !== undefined;
  if (!isExpected) throw error;
  process.stderr.write(`claviger-shim: ${(error as Error).message}\n`);
  process.exitCode = 2;
}
