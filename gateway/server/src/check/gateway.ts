// `claviger-gateway --check`: what a start would try, all of it, by the same functions. Leaves nothing
// behind: no port bound, no file made, no record written, no token alive.
import { certificatePin, publicKeyPin } from "@claviger/proto/runtime/pins.ts";
import { checkAuditSinks } from "@claviger/gateway-core/src/audit/check.ts";
import { type CheckedBackend, checkBackend } from "@claviger/gateway-core/src/backend/check.ts";
import type { GatewayConfig } from "@claviger/gateway-core/src/config.ts";
import { integrityKey } from "@claviger/gateway-core/src/key/integrity.ts";
import { checkRedis } from "@claviger/gateway-core/src/redis/check.ts";
import type { Documents } from "@claviger/gateway-core/src/backend/port.ts";
import { openRegistry } from "@claviger/gateway-core/src/registry/open.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import type { RegistryStore } from "@claviger/gateway-core/src/registry/port.ts";
import { secretFilesOf } from "@claviger/gateway-core/src/secret-files.ts";
import { dependencyRoles, listenerRoles, readTlsFiles, type TlsFiles } from "@claviger/gateway-core/src/tls-files.ts";
import { splitPem } from "@claviger/proto/runtime/certificates.ts";
import { type Check, type CheckRow, createCheck, type Found } from "@claviger/proto/runtime/check.ts";
import { checkCertificates, checkSecretFiles } from "@claviger/proto/runtime/check-files.ts";
import { silentLog } from "@claviger/proto/runtime/log.ts";
import { checkTracing } from "@claviger/proto/runtime/open-tracing.ts";
import { checkPorts, type Own } from "@claviger/proto/runtime/ports.ts";
import { zeroize } from "@claviger/proto/runtime/secret.ts";
import { resolveListenLimits, type Resources } from "../http/limits.ts";
import { checkKeys } from "./keys.ts";
import { checkServes, loadSample } from "./serves.ts";

async function checkListeners(check: Check, { listen, admin }: GatewayConfig, own: Own): Promise<void> {
  const listeners = [
    { setting: "listen", ...listen },
    { setting: "admin", ...admin },
  ];
  await checkPorts(check, listeners, own);
}

function checkLimits(check: Check, { listen }: GatewayConfig, bounds: Resources): void {
  const { connections } = resolveListenLimits(listen.limits, bounds);
  const wanted = listen.limits.connections ?? 0;
  if (connections >= wanted) check.add("limits", { verdict: "ok", found: `${connections} connections` });
  else
    check.add("limits", {
      verdict: "warning",
      found: `${connections} connections, and not ${wanted}: the limit of open files allows no more`,
      cure: "raise the process' limit of open files (LimitNOFILE of a unit)",
    });
}

/** The listener's files, and every certificate that a gateway uses. */
async function checkTls(check: Check, config: GatewayConfig): Promise<TlsFiles | undefined> {
  const files = await check.step("tls", () => {
    const read = readTlsFiles(config.tls);
    return { found: "certificate, key and client CAs can be read and fit together", value: read };
  });
  const own = files === undefined ? [] : listenerRoles(() => files);
  await checkCertificates(check, [...own, ...dependencyRoles(config)]);
  await checkSecretFiles(check, secretFilesOf(config));
  return files;
}

/** The registry as a start opens it, with a sample of its records; undefined where its backend cannot be asked. */
async function openSample(
  { registry: config, backends, serves }: GatewayConfig,
  checked: ReadonlyMap<string, CheckedBackend>,
  signal: AbortSignal,
): Promise<RegistryStore | undefined> {
  const documents = config.kind === "vault" ? checked.get(config.backend)?.backend.documents : undefined;
  if (config.kind === "vault" && documents === undefined) return undefined;
  const documentsOf = (): Documents => documents as Documents;
  const store = await openRegistry({ config, documentsOf, backends: new Set(Object.keys(backends)), log: silentLog });
  if (config.kind !== "vault" || documents === undefined) return store;
  await store.refresh();
  // There each record is read when its cluster first asks.
  await loadSample(store, { documents, config, serves, signal });
  return store;
}

function describeRegistry(store: RegistryStore): Found<readonly ClusterRecord[]> {
  const records = store.known();
  const problem = store.problem();
  const count = `${records.length} ${records.length === 1 ? "cluster" : "clusters"}`;
  if (problem === undefined) return { found: `${count} read`, value: records };
  const found = `${count} can be served; ${problem.replaceAll(/\s+/g, " ")}`;
  return { found: "", value: records, more: [{ verdict: "failed", found, cure: "correct the registry" }] };
}

/** A record that names an issuer whom no client CA is: no node of that cluster is let in. */
function checkIssuers(check: Check, records: readonly ClusterRecord[], { clientCa }: TlsFiles): void {
  const pins = new Set(splitPem(clientCa).flatMap((ca) => [certificatePin(ca), publicKeyPin(ca)]));
  const lost = records.filter(({ issuer }) => issuer !== undefined && !pins.has(issuer)).map(({ name }) => name);
  if (lost.length > 0)
    check.add("registry issuers", {
      verdict: "failed",
      found: `no client CA is the issuer of ${lost.slice(0, 10).join(", ")}${lost.length > 10 ? ` and ${lost.length - 10} more` : ""}`,
      cure: "add that CA to tls.clientCa, or change the record's issuer",
    });
}

async function checkIntegrity(
  check: Check,
  { integrity, backends }: GatewayConfig,
  checked: ReadonlyMap<string, CheckedBackend>,
): Promise<void> {
  const signer = integrity && checked.get(integrity.backend)?.backend;
  if (integrity === undefined || backends[integrity.backend]?.kind === "embedded") return;
  if (signer === undefined) return check.add("integrity", { verdict: "not tried", found: "its backend has no token" });
  await check.step("integrity", async (signal) => {
    zeroize(await integrityKey(signer, integrity, signal));
    return { found: `${integrity.mount}/${integrity.key} version ${integrity.version} signs`, value: true };
  });
}

/** Adds a row for each backend: what its token may do that no gateway needs. */
async function checkRights(
  check: Check,
  backends: ReadonlyMap<string, CheckedBackend>,
  records: readonly ClusterRecord[],
): Promise<void> {
  const keysOf = (name: string) => records.flatMap(({ keys }) => keys.filter(({ backend }) => backend === name));
  await Promise.all(
    [...backends].map(([name, { excess }]) =>
      check.step(`backend ${name} rights`, async (signal): Promise<Found<true>> => {
        const more = await excess(keysOf(name), signal);
        if (more.length === 0) return { found: "what was tried beyond a gateway's needs is refused", value: true };
        const found = `the token may ${more.join(", ")}`;
        const cure = "give the gateway's role the policy of 'claviger vault init' alone; --dry-run compares them";
        return { found: "", value: true, more: [{ verdict: "warning", found, cure }] };
      }),
    ),
  );
}

/** Backends, and what is read from them: registry, keys, the integrity key. */
async function checkKeyMaterial(
  check: Check,
  config: GatewayConfig,
  files: Promise<TlsFiles | undefined>,
  withRights: boolean,
) {
  const checked = await Promise.all(
    Object.entries(config.backends).map(
      async ([name, backend]) => [name, await checkBackend(check, name, backend)] as const,
    ),
  );
  const backends = new Map(checked.flatMap(([name, found]) => (found === undefined ? [] : [[name, found] as const])));
  try {
    const records = await check.step("registry", async (signal): Promise<Found<readonly ClusterRecord[]>> => {
      const store = await openSample(config, backends, signal);
      if (store === undefined)
        return { found: "", value: [], more: [{ verdict: "not tried", found: "its backend has no token" }] };
      store.close();
      return describeRegistry(store);
    });
    const tls = await files;
    if (records !== undefined && tls !== undefined) checkIssuers(check, records, tls);
    const silent = Object.entries(config.backends).filter(
      ([name, { kind }]) => kind === "vault" && !backends.has(name),
    );
    // A login may be good for the keys of its own cell alone.
    const served = checkServes(check, config.serves, records ?? []);
    await checkKeys(check, served, backends, new Set(silent.map(([name]) => name)));
    await checkIntegrity(check, config, backends);
    if (withRights) await checkRights(check, backends, records ?? []);
  } finally {
    await Promise.all([...backends.values()].map((backend) => backend.end()));
  }
}

/**
 * Tries everything at once, each step with a time of its own.
 * @param warnings of the configuration
 * @param own this process: what a port may be held by
 * @param withRights looks also for what the gateway's token may do that no gateway needs
 */
export async function checkGateway(
  config: GatewayConfig,
  {
    file,
    warnings,
    own,
    bounds,
    withRights = false,
  }: {
    readonly file: string;
    readonly warnings: readonly string[];
    readonly own: Own;
    readonly bounds: Resources;
    readonly withRights?: boolean;
  },
): Promise<readonly CheckRow[]> {
  const checks = Array.from({ length: 6 }, () => createCheck());
  const [settings, listeners, tls, redis, keys, rest] = checks as [Check, Check, Check, Check, Check, Check];
  settings.add("configuration", { verdict: "ok", found: `${file} can be read` });
  for (const found of warnings) settings.add("configuration", { verdict: "warning", found });
  checkLimits(settings, config, bounds);
  const files = checkTls(tls, config);
  await Promise.all([
    checkListeners(listeners, config, own),
    files,
    checkKeyMaterial(keys, config, files, withRights),
    checkAuditSinks(rest, config.audit.sinks),
    checkTracing(rest, config.tracing),
  ]);
  // By itself: a gateway waits for Redis for 100 ms, and this process may be busy for longer.
  if (config.redis !== undefined) await checkRedis(redis, config.redis);
  return checks.flatMap((check) => check.rows());
}
