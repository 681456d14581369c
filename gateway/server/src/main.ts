#!/usr/bin/env node
// claviger-gateway: holds the Vault credential so that no cluster has to. The composition root:
// constructs everything, reads from top to bottom.
import { readFileSync } from "node:fs";
import { hostname, totalmem } from "node:os";
import { formatRows, isGood } from "@claviger/proto/runtime/check.ts";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import { createLog } from "@claviger/proto/runtime/log.ts";
import { openOperationsServer, urlOf } from "@claviger/proto/runtime/operations.ts";
import { openTracing } from "@claviger/proto/runtime/open-tracing.ts";
import { endStart, readFlags, stopOnSignals } from "@claviger/proto/runtime/program.ts";
import { watchExpiry } from "@claviger/proto/runtime/expiry.ts";
import { watchFiles } from "@claviger/proto/runtime/watch.ts";
import packageJson from "../package.json" with { type: "json" };
import { openAuditLog } from "@claviger/gateway-core/src/audit/log.ts";
import { checkSinks, createSink } from "@claviger/gateway-core/src/audit/sinks.ts";
import { createCallTimes } from "./backend/call-times.ts";
import { createDispatcher } from "./backend/dispatch.ts";
import { watchOutcomes } from "./backend/outcomes.ts";
import { openBackend } from "@claviger/gateway-core/src/backend/open.ts";
import type { Documents, OpenBackend } from "@claviger/gateway-core/src/backend/port.ts";
import { loadGatewayConfig } from "@claviger/gateway-core/src/config.ts";
import { certificateRoles, readTlsFiles } from "@claviger/gateway-core/src/tls-files.ts";
import { checkGateway } from "./check/gateway.ts";
import { createHealth, type Readiness } from "./http/health.ts";
import { parseOpenFiles, resolveListenLimits, type Resources } from "./http/limits.ts";
import { createMethods } from "./http/methods.ts";
import { createKmsHttpServer } from "./http/server.ts";
import { createNoOpKeyCache } from "./keys/shared-key-cache.ts";
import { noObservations } from "@claviger/gateway-core/src/redis/observations.ts";
import { readRedisFiles } from "@claviger/gateway-core/src/redis/client.ts";
import { noNodeReports } from "@claviger/gateway-core/src/redis/node-reports.ts";
import { createCallCounts } from "./call-counts.ts";
import { createGatewayState } from "./gateway-state.ts";
import { createStepState } from "./step-state.ts";
import { openSharedCache } from "./keys/open-shared-cache.ts";
import { deriveIntegrityKey } from "@claviger/gateway-core/src/key/integrity.ts";
import { createAuditKey } from "@claviger/gateway-core/src/key/audit-key.ts";
import { keyPath } from "@claviger/gateway-core/src/key/key-id.ts";
import { createEpochMac } from "@claviger/gateway-core/src/key/epoch-mac.ts";
import { createCanaryCiphertexts } from "./keys/canary-ciphertexts.ts";
import { createKeyRing } from "./keys/key-ring.ts";
import { createAdmission } from "./kms/admission.ts";
import { createOverload } from "./kms/overload.ts";
import { createKmsService } from "./kms/service.ts";
import { createMetrics } from "./metrics.ts";
import { createServes } from "@claviger/gateway-core/src/registry/labels.ts";
import { openRegistry } from "@claviger/gateway-core/src/registry/open.ts";
import { documentOf } from "@claviger/gateway-core/src/registry/vault.ts";

function documentsOf(backends: ReadonlyMap<string, OpenBackend>, name: string): Documents {
  const documents = backends.get(name)?.documents;
  if (documents === undefined) throw new TypeError("the configuration let a backend pass that keeps no documents");
  return documents;
}

/** The bounds of this process, which a container or a unit may have set. */
function resources(): Resources {
  let openFiles: number | undefined;
  try {
    openFiles = parseOpenFiles(readFileSync("/proc/self/limits", "utf8"));
  } catch {
    // Not Linux.
  }
  // 0 and more than there is both mean that no bound is set.
  return { memoryBytes: Math.min(process.constrainedMemory() || Number.POSITIVE_INFINITY, totalmem()), openFiles };
}

const usage = `claviger-gateway --config FILE

Serves the KMS of a fleet of Kubernetes clusters from Vault, OpenBao or an embedded key file.

  --config FILE   configuration (YAML); docs/reference/settings.md has every setting
  --check         try what a start would try, say what is found, and exit: 0 where a start works, 1 where not
  --version       print the version
  --help          print this
`;

async function run(configFile: string, checkOnly: boolean): Promise<void> {
  const warnings: string[] = [];
  const config = loadGatewayConfig(configFile, (line) => warnings.push(line));
  if (checkOnly) {
    const own = { pid: process.pid, script: process.argv[1], uid: process.getuid?.() };
    const rows = await checkGateway(config, { file: configFile, warnings, own, bounds: resources() });
    // What does not answer may hold its connection for longer.
    process.stdout.write(formatRows(rows), () => process.exit(isGood(rows) ? 0 : 1));
    return;
  }
  let tls = readTlsFiles(config.tls);
  const unusable = checkSinks(config.audit.sinks);
  if (unusable.length > 0) throw new ConfigError(configFile, unusable);
  if (config.redis !== undefined) readRedisFiles(config.redis);

  const log = createLog("gateway", config.log.level, process.env["JOURNAL_STREAM"]);
  for (const problem of warnings) log.warn({ event: "setting-renamed", problem }, "a setting has another name now");
  const own = {
    name: "claviger-gateway",
    version: packageJson.version,
    instance: `${hostname()}:${config.listen.port}`,
  };
  const metrics = createMetrics({ service: own, maxSeries: config.metrics.clusters });
  metrics.observeProcess(packageJson.version, process);
  let readiness = (): Readiness => ({ ready: false, checks: { process: "starting" } });
  // Before anything is read: a registry of a large fleet takes a while.
  const admin = await openOperationsServer({
    ...config.admin,
    readiness: () => readiness(),
    metrics: metrics.render,
  });
  const tracing = await openTracing(own, config.tracing, log);
  const names = new Set(Object.keys(config.backends));
  const opened = await Promise.all(
    Object.entries(config.backends).map(async ([name, backend]) =>
      watchOutcomes(await openBackend({ name, config: backend, log }), ({ operation, result, milliseconds }) =>
        metrics.backendAnswered(name, operation, result, milliseconds),
      ),
    ),
  );
  metrics.observeBackendAddresses(() =>
    opened.flatMap(({ name, addresses }) => (addresses?.() ?? []).map((state) => ({ backend: name, ...state }))),
  );
  metrics.observeTokens(() => opened.map(({ name, login }) => ({ backend: name, end: login?.() })));
  const backends = new Map(opened.map((backend) => [backend.name, backend]));
  const callTimes = new Map(opened.map(({ name }) => [name, createCallTimes()]));
  const steps = createStepState({ backends: opened, connections: () => server.connections() });
  const dispatchers = new Map(
    opened.map((backend) => {
      const times = callTimes.get(backend.name);
      const dispatcher = createDispatcher({
        backend,
        ...(times && { times }),
        tracing,
        observe({ operation, items }) {
          metrics.backendCalled(backend.name, operation, items);
          steps.sent(items);
        },
      });
      return [backend.name, dispatcher] as const;
    }),
  );

  const signer = config.integrity && backends.get(config.integrity.backend);
  const integrity = config.integrity && signer && deriveIntegrityKey(signer, config.integrity, log);
  const secret = (): Uint8Array | undefined => integrity?.get();
  const sender = { host: hostname(), pid: process.pid };
  let name = sender.host;
  const sharedCache =
    config.redis &&
    openSharedCache({
      config: config.redis,
      secret,
      gateway: () => name,
      onMalformedReport: metrics.reportMalformed,
      log,
    });
  const registry = await openRegistry({
    config: config.registry,
    documentsOf: (name) => documentsOf(backends, name),
    backends: names,
    ...(sharedCache !== undefined && {
      peers: {
        tryAcquire: (name, ms) => sharedCache.tryAcquire(name, ms),
        tell: sharedCache.notifyRegistryChange,
      },
    }),
    log,
  });
  metrics.observeRegistry(registry.numbers);
  if (sharedCache !== undefined) metrics.observeRedis(() => sharedCache.health() === "ok");
  sharedCache?.onRegistryChange(() => void registry.refresh());
  const serves = createServes(config.serves);
  const ring = createKeyRing({
    backends,
    using: (key) => registry.using(key).filter(serves),
    sharedCache: sharedCache ?? createNoOpKeyCache(),
    ...(config.registry.kind === "vault" && {
      canaryCiphertexts: createCanaryCiphertexts(
        documentsOf(backends, config.registry.backend),
        documentOf(config.registry),
      ),
    }),
    refreshMs: config.keys.refresh,
    canaryMs: config.keys.canary,
    log,
  });
  metrics.observeBrokenVersions(() => ring.broken());
  metrics.observeUnpromotedVersions(() => ring.unpromoted());
  metrics.observeReopenedVersions(() => ring.reopened());
  metrics.observeKeyInterval(() => ring.intervalMs());
  metrics.observeKeys(() =>
    ring.known().map(({ ref, promoted, latest }) => ({
      backend: ref.backend,
      key: keyPath(ref),
      promoted: promoted.version,
      latest,
      createdAt: promoted.createdAt,
    })),
  );
  const service = createKmsService({
    ring,
    dispatchers,
    observations: sharedCache?.observations ?? noObservations,
  });

  const audit = await openAuditLog({
    sinks: config.audit.sinks.map((sink) => createSink(sink, sender)),
    required: config.audit.required,
    log,
    replica: sender.host,
    ...(config.integrity && signer && { signer: createAuditKey(signer, config.integrity, secret) }),
  });
  metrics.observeAudit(audit);

  const bounds = resources();
  const limits = resolveListenLimits(config.listen.limits, bounds);
  if (limits.connections < (config.listen.limits.connections ?? 0))
    log.warn(
      { event: "open-files-short", openFiles: bounds.openFiles, connections: limits.connections },
      "the limit of open files allows fewer connections than are configured",
    );
  const overload = createOverload({
    // Which backend a call needs is not known yet: whoever has time for the quickest is let in, and the slowest
    // may be far away.
    backend: {
      longestMs: () => Math.min(...callTimes.values().map((times) => times.longestMs())),
      shortestMs: () => Math.max(...callTimes.values().map((times) => times.shortestMs())),
    },
    onShed: (cause) => metrics.shed(cause),
  });
  metrics.observeRequestLimit(() => overload.limit());
  const methods = createMethods(service, packageJson.version);
  const counts = createCallCounts();
  const server = createKmsHttpServer({
    tls,
    trustDomain: config.trustDomain,
    trustedProxies: config.listen.trustedProxies,
    limits,
    tracing,
    admission: createAdmission({ registry, serves, epochMac: createEpochMac(secret) }),
    overload,
    methods,
    audit,
    nodes: sharedCache?.nodes ?? noNodeReports,
    ...(sharedCache !== undefined && { counts }),
    metrics,
    log,
  });
  const expiry = watchExpiry({ roles: certificateRoles(config, () => tls), log });
  metrics.observeCertificates(expiry.states);
  const health = createHealth({
    registry,
    audit,
    backends: opened,
    redis: sharedCache?.health,
    tracing: config.tracing && tracing.health,
    certificates: expiry.states,
  });
  const port = await server.listen(config.listen.address, config.listen.port);
  ({ readiness } = health);
  name = `${sender.host}:${port}`;
  const state = { version: packageJson.version, backends: opened, readiness, certificates: expiry.states };
  const reporter = sharedCache?.reportGateway(
    createGatewayState({ ...state, connections: () => server.connections(), keyFailures: () => ring.failures() }),
  );
  const history = sharedCache?.reportHistory(() => ({ ...steps.take(), ...counts.take() }));
  const watch = watchFiles({
    files: () => Object.values(config.tls),
    log,
    onChange: () => {
      const next = readTlsFiles(config.tls, tls);
      server.setTls(next);
      tls = next;
    },
  });

  const close = async (): Promise<void> => {
    health.drain();
    watch.close();
    expiry.close();
    await server.close();
    await reporter?.close();
    await history?.close();
    await audit.close();
    ring.close();
    sharedCache?.close();
    integrity?.close();
    registry.close();
    health.close();
    await Promise.all(opened.map((backend) => backend.close()));
    await admin.close();
    await tracing.close();
  };
  stopOnSignals(process, log, close, () => void audit.reopen());
  log.info(
    {
      event: "ready",
      listen: urlOf("https", config.listen.address, port),
      admin: urlOf("http", config.admin.address, admin.port),
      connections: limits.connections,
      version: packageJson.version,
    },
    "ready",
  );
}

try {
  const values = readFlags({
    config: { type: "string" },
    check: { type: "boolean" },
    version: { type: "boolean" },
    help: { type: "boolean" },
  });
  if (values.help === true) process.stdout.write(usage);
  else if (values.version === true) process.stdout.write(`${packageJson.version}\n`);
  else if (values.config === undefined) {
    process.stderr.write(`claviger-gateway: --config FILE is missing\n\n${usage}`);
    process.exitCode = 2;
  } else await run(values.config, values.check === true);
} catch (error) {
  endStart(process, "claviger-gateway", error);
}
