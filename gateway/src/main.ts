#!/usr/bin/env node
// claviger-gateway: holds the Vault credential so that no cluster has to. The composition root: constructs everything, reads from top to bottom.
import { parseArgs } from "node:util";
import { ConfigError } from "@claviger/proto/config.ts";
import { createLog } from "@claviger/proto/log.ts";
import { openOperationsServer, urlOf } from "@claviger/proto/operations.ts";
import { openTracing } from "@claviger/proto/open-tracing.ts";
import { watchFiles } from "@claviger/proto/watch.ts";
import packageJson from "../package.json" with { type: "json" };
import { createAuditLog } from "./audit/log.ts";
import { createFileSink, createStreamSink } from "./audit/sinks.ts";
import { createDispatcher } from "./backend/dispatch.ts";
import { openBackend } from "./backend/open.ts";
import type { Documents, OpenBackend } from "./backend/port.ts";
import { traceDispatcher } from "./backend/traced.ts";
import { loadGatewayConfig, readTlsFiles } from "./config.ts";
import { createHealth } from "./http/health.ts";
import { createHandlers } from "./http/routes.ts";
import { createKmsServer } from "./http/server.ts";
import { createLonelyBoard } from "./keys/board.ts";
import { noLedger } from "./keys/ledger.ts";
import { openBoard } from "./keys/open-board.ts";
import { createKeepsakes } from "./keys/keepsakes.ts";
import { createKeyRing } from "./keys/ring.ts";
import { createAdmission } from "./kms/admission.ts";
import { createKmsService } from "./kms/service.ts";
import { createMetrics } from "./metrics.ts";
import { openFileRegistry } from "./registry/file.ts";
import { documentOf, openVaultRegistry } from "./registry/vault.ts";

const documentsOf = (backends: ReadonlyMap<string, OpenBackend>, name: string): Documents => {
  const documents = backends.get(name)?.documents;
  if (documents === undefined) throw new TypeError("the configuration let a backend pass that keeps no documents");
  return documents;
};

const usage = `claviger-gateway --config FILE

Serves the KMS of a fleet of Kubernetes clusters from Vault, OpenBao or an embedded key file.

  --config FILE   configuration (YAML); see infra/gateway/gateway.yaml for every setting
  --check         read and check the configuration, then exit
  --version       print the version
  --help          print this
`;

const run = async (configFile: string, checkOnly: boolean): Promise<void> => {
  const config = loadGatewayConfig(configFile);
  const tls = readTlsFiles(config.tls);
  if (checkOnly) return;

  const log = createLog("gateway", config.log.level);
  const metrics = createMetrics();
  const tracing = await openTracing("claviger-gateway", packageJson.version, config.tracing);
  const names = new Set(Object.keys(config.backends));
  const sinks = config.audit.sinks.map((sink) =>
    sink.kind === "file" ? createFileSink(sink) : createStreamSink("stdout", process.stdout),
  );
  const audit = createAuditLog({ sinks, required: config.audit.required, log });

  const opened = await Promise.all(
    Object.entries(config.backends).map(async ([name, backend]) => await openBackend({ name, config: backend, log })),
  );
  const backends = new Map(opened.map((backend) => [backend.name, backend]));
  const dispatchers = new Map(
    opened.map((backend) => {
      const dispatcher = createDispatcher({
        backend,
        observe: ({ operation, items }) => metrics.backendCalled(backend.name, operation, items),
      });
      return [backend.name, traceDispatcher(dispatcher, backend.name, tracing)] as const;
    }),
  );

  const board = config.redis === undefined ? undefined : openBoard(config.redis, backends, log);
  const registry =
    config.registry.kind === "vault"
      ? await openVaultRegistry({
          documents: documentsOf(backends, config.registry.backend),
          config: config.registry,
          backends: names,
          ...(board !== undefined && { peers: { claim: (name, ms) => board.claim(name, ms), tell: board.tellRegistryNews } }),
          log,
        })
      : await openFileRegistry({ file: config.registry.file, backends: names, log });
  board?.onRegistryNews(() => void registry.refresh());
  const ring = createKeyRing({
    backends,
    clusters: registry.list,
    board: board ?? createLonelyBoard(),
    ...(config.registry.kind === "vault" && {
      keepsakes: createKeepsakes(documentsOf(backends, config.registry.backend), documentOf(config.registry)),
    }),
    refreshMs: config.keys.refresh,
    canaryMs: config.keys.canary,
    log,
  });
  metrics.observeBrokenVersions(() => ring.broken());
  const service = createKmsService({ admission: createAdmission({ registry }), ring, dispatchers, ledger: board?.ledger ?? noLedger });

  const handlers = createHandlers(service, packageJson.version);
  const server = createKmsServer({
    tls,
    trustDomain: config.trustDomain,
    trustedProxies: config.listen.trustedProxies,
    tracing,
    handlers,
    audit,
    metrics,
    log,
  });
  const health = createHealth({ registry, audit, backends: opened, redis: board?.health });
  const admin = await openOperationsServer({ ...config.admin, readiness: health.readiness, metrics: metrics.render });
  const port = await server.listen(config.listen.address, config.listen.port);
  const watch = watchFiles({ files: () => Object.values(config.tls), log, onChange: () => server.setTls(readTlsFiles(config.tls)) });

  let isStopping = false;
  const stop = async (signal: string): Promise<void> => {
    if (isStopping) return;
    isStopping = true;
    log.info({ event: "draining", signal }, "finishing what is under way");
    health.drain();
    watch.close();
    await server.close();
    await audit.close();
    ring.close();
    board?.close();
    registry.close();
    health.close();
    await Promise.all(opened.map((backend) => backend.close()));
    await admin.close();
    await tracing.close();
    log.info({ event: "stopped" }, "stopped");
    process.exit(0);
  };
  process.on("SIGTERM", (signal) => void stop(signal));
  process.on("SIGINT", (signal) => void stop(signal));
  const listen = urlOf("https", config.listen.address, port);
  log.info({ event: "ready", listen, admin: urlOf("http", config.admin.address, admin.port), version: packageJson.version }, "ready");
};

const { values } = parseArgs({
  options: { config: { type: "string" }, check: { type: "boolean" }, version: { type: "boolean" }, help: { type: "boolean" } },
});
if (values.help === true) process.stdout.write(usage);
else if (values.version === true) process.stdout.write(`${packageJson.version}\n`);
else if (values.config === undefined) {
  process.stderr.write(`claviger-gateway: --config FILE is missing\n\n${usage}`);
  process.exitCode = 2;
} else {
  try {
    await run(values.config, values.check === true);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`claviger-gateway: ${error.message}\n`);
    // What was opened by then keeps nothing that is worth closing.
    process.exit(2);
  }
}
