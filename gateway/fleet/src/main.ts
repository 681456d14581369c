#!/usr/bin/env node
// claviger-fleet: the control plane. Sees and changes the registry, and signs the certificates of nodes; it
// can neither encrypt nor decrypt. The composition root: constructs everything, reads from top to bottom.
import { hostname } from "node:os";
import { join } from "node:path";
import { formatRows, isGood } from "@claviger/proto/runtime/check.ts";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import { splitPem } from "@claviger/proto/runtime/certificates.ts";
import { watchExpiry } from "@claviger/proto/runtime/expiry.ts";
import { createLog } from "@claviger/proto/runtime/log.ts";
import { openOperationsServer, urlOf } from "@claviger/proto/runtime/operations.ts";
import { endStart, readFlags, stopOnSignals } from "@claviger/proto/runtime/program.ts";
import { watchFiles } from "@claviger/proto/runtime/watch.ts";
import { openAuditLog } from "@claviger/gateway-core/src/audit/log.ts";
import { checkSinks, createSink } from "@claviger/gateway-core/src/audit/sinks.ts";
import { openBackend } from "@claviger/gateway-core/src/backend/open.ts";
import type { OpenBackend } from "@claviger/gateway-core/src/backend/port.ts";
import { createAuditKey } from "@claviger/gateway-core/src/key/audit-key.ts";
import { createVerifyKeys } from "@claviger/gateway-core/src/key/verify-keys.ts";
import { deriveIntegrityKey } from "@claviger/gateway-core/src/key/integrity.ts";
import { openRedis, readRedisFiles } from "@claviger/gateway-core/src/redis/client.ts";
import { openNodeCertificates } from "@claviger/gateway-core/src/pki/node-certificates.ts";
import { openRegistry } from "@claviger/gateway-core/src/registry/open.ts";
import { documentOf } from "@claviger/gateway-core/src/registry/vault.ts";
import { listenerRoles, readTlsFiles } from "@claviger/gateway-core/src/tls-files.ts";
import packageJson from "../package.json" with { type: "json" };
import { createApprovals } from "./approvals/approvals.ts";
import { openApprovalStore } from "./approvals/open.ts";
import { createPeople } from "./approvals/people.ts";
import { createStanding } from "./approvals/standing.ts";
import { startSweep } from "./approvals/sweep.ts";
import { openAuditRecords } from "./audit/open.ts";
import { createCallers } from "./caller.ts";
import { checkFleet } from "./check.ts";
import { createClusterCache } from "./cluster-cache.ts";
import { type FleetConfig, loadFleetConfig } from "./config.ts";
import { createKeyAccess } from "./keys/access.ts";
import { createKeyAges, noKeyAges } from "./keys/ages.ts";
import { createKeyFacts } from "./keys/facts.ts";
import { describeKey } from "./methods/keys.ts";
import { createEnrollment } from "./enrollment.ts";
import { createFleetEvents } from "./events/events.ts";
import { openHistories } from "./histories/open.ts";
import { createFleetServer } from "./http/server.ts";
import { createRates } from "./rates.ts";
import { createMetrics } from "./metrics.ts";
import { anyBackend, findCluster, openRegistryEditor } from "./open-registry.ts";
import { createRoles } from "./roles.ts";
import { createFleetMethods, createFleetStreams } from "./service.ts";
import { checkIssuerFiles, createDiscovery } from "./oidc/discovery.ts";
import { createTokenOperators } from "./oidc/operators.ts";
import { openSite } from "./pages/open.ts";
import { createSightings, noSightings } from "./sightings.ts";
import { createTokenDocuments, openTokenDirectory } from "./tokens.ts";
import { readTrustBundle } from "./trust-bundle.ts";

const usage = `claviger-fleet --config FILE

The control plane of a fleet: operators see and change clusters, nodes enroll and renew their certificates.

  --config FILE   configuration (YAML); docs/reference/settings.md has every setting
  --check         try what a start would try, say what is found, and exit: 0 where a start works, 1 where not
  --version       print the version
  --help          print this
`;

/** What a reading of a whole fleet may take of Redis: it is no request's, and reads 20,000 times as much. */
const wholeFleet = { commandMs: 2000, bytesPerSecond: 128 * 2 ** 20 };

/** Where `npm run build` and the image have those of the console. */
const pages = join(import.meta.dirname, "console");

async function run(configFile: string, checkOnly: boolean): Promise<void> {
  const config = loadFleetConfig(configFile);
  if (checkOnly) {
    const own = { pid: process.pid, script: process.argv[1], uid: process.getuid?.() };
    const rows = await checkFleet(config, { file: configFile, own, pages });
    // What does not answer may hold its connection for longer.
    process.stdout.write(formatRows(rows), () => process.exit(isGood(rows) ? 0 : 1));
    return;
  }
  const { certificates, tokens: tokenConfig, trustDomain } = config;
  let tls = readTlsFiles(config.tls);
  let authorities = splitPem(tls.clientCa);
  let trust = readTrustBundle(certificates.trustBundle, tls.cert);
  checkIssuerFiles(config.oidc);
  const unusable = checkSinks(config.audit.sinks);
  if (unusable.length > 0) throw new ConfigError(configFile, unusable);
  if (config.redis !== undefined) readRedisFiles(config.redis);
  const log = createLog("fleet", config.log.level, process.env["JOURNAL_STREAM"]);
  const metrics = createMetrics({
    name: "claviger-fleet",
    version: packageJson.version,
    instance: `${hostname()}:${config.listen.port}`,
  });
  metrics.observeProcess(packageJson.version, process);

  const opened = await Promise.all(
    Object.entries(config.backends).map(([name, backend]) => openBackend({ name, config: backend, log })),
  );
  const backends = new Map<string, OpenBackend>(opened.map((backend) => [backend.name, backend]));
  const partOf = <Part extends "documents" | "pki">(name: string, part: Part): NonNullable<OpenBackend[Part]> => {
    const found = backends.get(name)?.[part];
    if (found === undefined) throw new TypeError(`the configuration let a backend pass that has no ${part}`);
    return found;
  };
  const registry = openRegistryEditor(config.registry, (name) => partOf(name, "documents"));
  const clusters = createClusterCache(
    () =>
      openRegistry({
        config: config.registry,
        documentsOf: (name) => partOf(name, "documents"),
        backends: anyBackend,
        log,
      }),
    registry,
  );
  const tokens =
    tokenConfig.kind === "directory"
      ? await openTokenDirectory(tokenConfig.directory)
      : createTokenDocuments(partOf(tokenConfig.backend, "documents"), documentOf(tokenConfig));
  const authority = await openNodeCertificates({
    config: certificates.ca,
    trustDomain,
    pkiOf: (name) => partOf(name, "pki"),
  });
  const enrollment = createEnrollment({
    trustDomain,
    tokens,
    certificates: authority,
    lifetimeSeconds: Math.round(certificates.lifetime / 1000),
    clusterOf: (name) => findCluster(registry, name),
  });
  const signer = config.integrity && backends.get(config.integrity.backend);
  const integrity = config.integrity && signer && deriveIntegrityKey(signer, config.integrity, log);
  const redis = config.redis && openRedis(config.redis, log, wholeFleet);
  const sightings = redis === undefined ? noSightings : createSightings({ redis, secret: () => integrity?.get() });
  const shared = redis === undefined || integrity === undefined ? undefined : { redis, secret: integrity.get };
  const { maxAge } = config.keys;
  const keys = createKeyAccess({
    backends: config.backends,
    opened: backends,
    shared,
    maxAgeMs: maxAge,
    facts: createKeyFacts(shared, sightings),
  });
  const written = await openAuditLog({
    sinks: config.audit.sinks.map((sink) => createSink(sink, { host: hostname(), pid: process.pid })),
    required: config.audit.required,
    log,
    replica: hostname(),
    ...(config.integrity && signer && { signer: createAuditKey(signer, config.integrity, () => integrity?.get()) }),
  });
  const verifyKeys = config.integrity && signer && createVerifyKeys(signer, config.integrity);
  const { audit, ...kept } = openAuditRecords(written, config.audit.sinks, verifyKeys);
  const histories = openHistories({ shared, sightings, records: () => clusters.all(), log });
  const readRoles = (): FleetConfig => {
    const next = loadFleetConfig(configFile);
    checkIssuerFiles(next.oidc);
    return next;
  };
  const roles = createRoles(config, readRoles, log);
  const tokenOperator = createTokenOperators({
    oidc: () => roles.current().oidc,
    discover: createDiscovery,
    onFailure: (issuer, err) =>
      log.warn({ event: "issuer-keys-unreadable", issuer, err }, "the keys of an issuer of tokens cannot be read"),
  });
  const store =
    config.approvals && (await openApprovalStore(config.approvals.store, (name) => partOf(name, "documents")));
  const sweep = config.approvals && store && startSweep({ store, keepMs: config.approvals.keep, log });
  const twoPersons = config.approvals &&
    store && {
      needing: new Set(config.approvals.methods),
      approvals: createApprovals({
        store,
        ttlSeconds: Math.round(config.approvals.ttl / 1000),
        personOf: createPeople(config.approvals.people),
        standingOf: createStanding(roles.current),
        clusterOf: (name) => findCluster(registry, name),
        log,
      }),
    };
  const rates = createRates(config.rates);
  const site = openSite({
    config,
    roles: roles.current,
    beside: pages,
    tokenOperator,
    shared,
    audit,
    rates,
    log,
  });
  const sessions = site?.sessions;
  const bundle = { role: "trust_bundle", kind: "authorities", read: () => splitPem(trust.pem) } as const;
  const expiry = watchExpiry({ roles: [...listenerRoles(() => tls), bundle], log });
  const ages =
    maxAge === undefined ? noKeyAges : createKeyAges({ describe: (ref) => describeKey(keys, ref), maxAgeMs: maxAge });
  const events = createFleetEvents({
    read: () => clusters.all(),
    sightings,
    sources: { ages, registryProblem: () => clusters.problem() ?? "", certificates: expiry.states },
  });
  const server = createFleetServer({
    tls,
    callerOf: createCallers({
      trustDomain,
      operators: () => roles.current().operators,
      clientCa: () => authorities,
      tokenOperator,
      ...(sessions && { sessionOperator: (cookies) => sessions.operatorOf(cookies) }),
      url: config.console.url,
    }),
    site: site?.site,
    methods: createFleetMethods({
      registry,
      clusters,
      keys,
      twoPersons,
      events,
      enrollment,
      revocationList: authority.revocationList,
      sightings,
      certificates: expiry.states,
      ages,
      histories: histories.histories,
      audit: { replica: hostname(), required: config.audit.required, sinks: () => audit.sinks(), ...kept },
      trustBundle: () => trust.pem,
      caPin: () => trust.pin,
      gateways: config.gateways,
      uriOf: (path) => `spiffe://${trustDomain}/${path}`,
    }),
    streams: createFleetStreams(events),
    rates,
    audit,
    onCall: (method, result) => metrics.called(method, result),
    log,
  });
  metrics.observeCertificates(expiry.states);
  metrics.observeAudit(written);
  // The first list waits for no record; a registry that cannot be read yet is said to whoever asks.
  clusters.all().catch(() => {});
  const port = await server.listen(config.listen.address, config.listen.port);
  const admin = await openOperationsServer({
    ...config.admin,
    readiness: () => ({ ready: audit.isHealthy() }),
    metrics: metrics.render,
  });
  const watch = watchFiles({
    files: () => [...Object.values(config.tls), certificates.trustBundle],
    log,
    onChange: () => {
      const next = readTlsFiles(config.tls, tls);
      trust = readTrustBundle(certificates.trustBundle, next.cert);
      server.setTls(next);
      tls = next;
      authorities = splitPem(next.clientCa);
    },
  });
  const rolesWatch = watchFiles({ files: () => [configFile], log, onChange: () => roles.reload() });
  stopOnSignals(
    process,
    log,
    async () => {
      watch.close();
      rolesWatch.close();
      sweep?.close();
      expiry.close();
      await server.close();
      events.close();
      histories.close();
      clusters.close();
      await audit.close();
      redis?.close();
      integrity?.close();
      await Promise.all(opened.map((backend) => backend.close()));
      await admin.close();
    },
    () => void audit.reopen(),
  );
  log.info(
    {
      event: "ready",
      listen: urlOf("https", config.listen.address, port),
      admin: urlOf("http", config.admin.address, admin.port),
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
    process.stderr.write(`claviger-fleet: --config FILE is missing\n\n${usage}`);
    process.exitCode = 2;
  } else await run(values.config, values.check === true);
} catch (error) {
  endStart(process, "claviger-fleet", error);
}
