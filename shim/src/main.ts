#!/usr/bin/env node
// claviger-shim: kube-apiserver's KMS plugin. Owns a socket, a client certificate and a list of
// gateways; holds no key and no Vault credential. The composition root: constructs everything,
// reads from top to bottom.
import { isDeepStrictEqual } from "node:util";
import { formatRows, isGood } from "@claviger/proto/runtime/check.ts";
import { createSteadyClock } from "@claviger/proto/runtime/clock.ts";
import { createLog } from "@claviger/proto/runtime/log.ts";
import { openOperationsServer, urlOf } from "@claviger/proto/runtime/operations.ts";
import { openTracing } from "@claviger/proto/runtime/open-tracing.ts";
import { endStart, readFlags, stopOnSignals } from "@claviger/proto/runtime/program.ts";
import { watchExpiry } from "@claviger/proto/runtime/expiry.ts";
import { watchFiles } from "@claviger/proto/runtime/watch.ts";
import packageJson from "../package.json" with { type: "json" };
import { checkShim } from "./check.ts";
import { changedSettings, configHash, flagNames, loadShimConfig, overrides, type ShimConfig } from "./config.ts";
import { enroll } from "./enroll.ts";
import { FleetError } from "./fleet-service.ts";
import { createKmsMethods } from "./kms.ts";
import { createMetrics } from "./metrics.ts";
import { createKmsSocketServer } from "./server.ts";
import { keepRenewed } from "./renewal.ts";
import { claimSocket, SocketError } from "./socket.ts";
import { createStateFile } from "./state-file.ts";
import { createStatusKeeper, readinessOf } from "./status.ts";
import { certificateRoles, nodeOf, readCredentials } from "./tls.ts";
import { createUpstream } from "./upstream.ts";

const usage = `claviger-shim --config FILE
claviger-shim enroll --url URL --token-file FILE --ca-pin PIN [--dir DIR] [--owner UID:GID] [--name CLUSTER/NODE] [--force]

The KMS plugin of a kube-apiserver: serves KMS v2 and v1beta1 on a unix socket from remote gateways.

  --config FILE        configuration (YAML); docs/reference/settings.md has every setting
  --takeover           replace a shim that is serving the socket, without a gap; stop that one afterwards
  --check              try what a start would try, and each gateway; say what is found, and exit: 0 where all works, 1 where not
  --forget             remove the epoch from the state file and exit, with the shim stopped: after a gateway gone bad
  --version, --help

enroll: a certificate for this node, with a key that is made here, for a token of 'claviger node token CLUSTER/NODE'.

  --url URL            the fleet service, https://HOST:PORT
  --token-file FILE    the token; it is good once
  --ca-pin PIN         sha256:..., printed with the token: of the CA that the service is verified by
  --dir DIR            where node.pem (certificate and key) and ca.pem go (/var/lib/claviger)
  --owner UID:GID      the user that the shim runs as: the directory and the files become its own
  --name CLUSTER/NODE  who this node is; a token for another one is refused
  --force              replace a node.pem that is there

Each of these overrides the file, and so does its environment variable (--socket is CLAVIGER_SHIM_SOCKET):
${Object.entries(overrides)
  .map(([name, { help }]) => `  --${`${name} VALUE`.padEnd(24)} ${help}`)
  .join("\n")}
`;

/** With the closings after it less than the 15 seconds that the shipped unit and pods give. */
const drainMs = 10_000;

/** Settings that a running shim takes from a changed file. */
const appliedSettings: ReadonlySet<string> = new Set(["gateways", "tls", "outage", "log"]);

async function run(
  load: (warn?: (line: string) => void) => ShimConfig,
  configFile: string | undefined,
  takeover: boolean,
): Promise<void> {
  const warnings: string[] = [];
  let config = load((line) => warnings.push(line));
  const credentials = readCredentials(config.tls);
  let currentTls = credentials.tls;
  const log = createLog("shim", config.log.level, process.env["JOURNAL_STREAM"]);
  for (const warning of warnings)
    log.warn({ event: "setting-renamed", problem: warning }, "a setting has another name now");
  // One clock for the ages of both, which nobody can set.
  const now = createSteadyClock();
  const own = nodeOf(credentials.tls);
  const service = {
    name: "claviger-shim",
    version: packageJson.version,
    instance: `${own.cluster}/${own.node}`,
    labels: own,
  };
  const metrics = createMetrics(service);
  metrics.observeProcess(packageJson.version, process);
  const tracing = await openTracing(service, config.tracing, log);
  const upstream = createUpstream(config.gateways, credentials.tls, metrics, tracing.traceparent, log);
  const stateFile = createStateFile(config.stateFile ?? `${config.socket.path}.state`, credentials.cluster, log, now);
  const grace = () => ({ healthyForMs: config.outage.healthyFor, degradedForMs: config.outage.degradedFor });
  const about = () => ({ version: packageJson.version, config: configHash(config) });
  const status = createStatusKeeper({ upstream, stateFile, grace, about, log, now });
  metrics.observeOutage(status.outage);
  const expiry = watchExpiry({ roles: certificateRoles(() => currentTls), log });
  metrics.observeCertificates(expiry.states);
  const kms = createKmsMethods({
    upstream,
    metrics,
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

  // What can fail comes first, and the path last: until then an earlier shim serves as before.
  const health = await openOperationsServer({
    ...config.health,
    readiness: () => ({
      ...readinessOf(status),
      gateways: Object.fromEntries(upstream.gateways().map(({ url, problem }) => [url, problem ?? "ok"])),
      certificates: Object.fromEntries(expiry.states().map(({ role, text }) => [role, text])),
      ...(config.tracing !== undefined && { tracing: tracing.health() }),
    }),
    metrics: metrics.render,
    // The shim that is taken over from holds the same port until it stops.
    waitForPort: takeover,
    onListening: () => log.info({ event: "health-listening" }, "the health port is free now, and in use"),
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

  const reload = (): boolean => {
    const next = load();
    const { tls } = readCredentials(next.tls, currentTls);
    const changed = changedSettings(config, next);
    const hasNewPems = !isDeepStrictEqual(tls, currentTls);
    if (hasNewPems || changed.includes("gateways") || changed.includes("tls")) upstream.configure(next.gateways, tls);
    const waiting = changed.filter((name) => !appliedSettings.has(name));
    log.level = next.log.level;
    // What needs a restart stays as it was, so that it is named again at the next change.
    config = { ...config, gateways: next.gateways, tls: next.tls, outage: next.outage, log: next.log };
    currentTls = tls;
    if (waiting.length > 0)
      log.warn({ event: "restart-needed", settings: waiting }, "these changed settings are used after a restart");
    return hasNewPems || changed.some((name) => appliedSettings.has(name));
  };
  const files = (): readonly string[] => [
    config.tls.cert,
    config.tls.key,
    config.tls.ca,
    ...(configFile === undefined ? [] : [configFile]),
  ];
  const watch = watchFiles({ files, onChange: reload, log });
  const renewal =
    config.renewal && keepRenewed({ url: config.renewal.url, file: config.tls.cert, inUse: () => currentTls, log });

  stopOnSignals(process, log, async () => {
    watch.close();
    renewal?.close();
    expiry.close();
    socket.release();
    await server.drain(drainMs);
    await upstream.close();
    await health.close();
    await tracing.close();
  });
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

async function check(load: (warn?: (line: string) => void) => ShimConfig): Promise<void> {
  const warnings: string[] = [];
  const config = load((line) => warnings.push(line));
  const own = { pid: process.pid, script: process.argv[1], uid: process.getuid?.() };
  const rows = await checkShim(config, { warnings, own, setUmask: (mask) => process.umask(mask) });
  // What does not answer may hold its connection for longer.
  process.stdout.write(formatRows(rows), () => process.exit(isGood(rows) ? 0 : 1));
}

function forget(config: ShimConfig): void {
  const { cluster } = readCredentials(config.tls);
  const file = config.stateFile ?? `${config.socket.path}.state`;
  const hasForgotten = createStateFile(file, cluster, createLog("shim", config.log.level)).forget();
  process.stdout.write(hasForgotten ? `${file}: the epoch is removed\n` : `${file}: there is no epoch to remove\n`);
}

/** @throws ConfigError, FleetError */
async function runEnroll(args: readonly string[]): Promise<void> {
  const values = readFlags(
    {
      url: { type: "string", default: "" },
      "token-file": { type: "string", default: "" },
      "ca-pin": { type: "string", default: "" },
      dir: { type: "string", default: "/var/lib/claviger" },
      owner: { type: "string" },
      name: { type: "string" },
      force: { type: "boolean", default: false },
      help: { type: "boolean" },
    },
    args,
  );
  const { url, dir, owner, name, force } = values;
  const options = { url, tokenFile: values["token-file"], caPin: values["ca-pin"], dir, owner, name, force };
  process.stdout.write(values.help === true ? usage : await enroll(options));
}

async function runShim(): Promise<void> {
  const values = readFlags({
    config: { type: "string" },
    takeover: { type: "boolean" },
    check: { type: "boolean" },
    forget: { type: "boolean" },
    version: { type: "boolean" },
    help: { type: "boolean" },
    ...Object.fromEntries(flagNames.map((name) => [name, { type: "string" as const }])),
  });
  const flags = Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
  );
  const load = (warn?: (line: string) => void): ShimConfig => loadShimConfig(values.config, flags, process.env, warn);
  if (values.help === true) process.stdout.write(usage);
  else if (values.version === true) process.stdout.write(`${packageJson.version}\n`);
  else if (values.forget === true) forget(load());
  else if (values.check === true) await check(load);
  else await run(load, values.config, values.takeover === true);
}

try {
  const [command, ...args] = process.argv.slice(2);
  if (command === "enroll") await runEnroll(args);
  else await runShim();
} catch (error) {
  endStart(process, "claviger-shim", error, error instanceof SocketError || error instanceof FleetError);
}
