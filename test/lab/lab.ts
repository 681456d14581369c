// The lab: the real parts and Claviger between them, on loopback. `npm run lab`, the tests and the
// benchmarks start it here.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildConsole } from "../../infra/console.ts";
import { claimDir, releaseDir } from "./dir.ts";
import { createPki, type LabGateway, type LabShim, type Pki, startGateway, startShim, writeRegistry } from "./fleet.ts";
import { fleetLogin, type LabFleetService, operators, startFleetService, writeContext } from "./fleet-service.ts";
import { type ApiServer, type Etcd, startApiServer, startEtcd } from "./kubernetes.ts";
import { integrityKey, type OpenBao, setUpTransit, startOpenBao, transitMount } from "./openbao.ts";
import { createProcessGroup, type ProcessGroup, type LabProcess } from "./process-group.ts";
import { type RedisServer, startRedis } from "./redis.ts";

export type LabOptions = {
  /** Everything is written here: state, logs, lab.json. Made when missing. */
  readonly dir: string;
  readonly backend?: "vault" | "embedded";
  readonly gateways?: number;
  /** Shim i belongs to cluster i modulo `clusters`: cluster-1 gets the first. */
  readonly shims?: number;
  readonly clusters?: number;
  readonly kubernetes?: boolean;
  readonly redis?: boolean;
  /** The fleet service as well, with the lab's authority and files for registry and tokens. */
  readonly fleet?: boolean;
  /** Settings added to the fleet service's configuration. */
  readonly fleetExtra?: Readonly<Record<string, unknown>>;
  /** Clusters share one Transit key instead of having one each. */
  readonly sharedKey?: boolean;
  /** Of every cluster's record; its default when absent. */
  readonly requestsPerSecond?: number;
  readonly kms?: "v1" | "v2";
  /** Settings added to every shim's, every gateway's configuration; flags to every apiserver's. */
  readonly shimExtra?: Readonly<Record<string, unknown>>;
  readonly gatewayExtra?: Readonly<Record<string, unknown>> | ((gateway: string) => Readonly<Record<string, unknown>>);
  readonly apiServerArgs?: readonly string[];
  /** Command lines of the programs, without `--config FILE`; the sources when absent. */
  readonly programs?: { readonly gateway: readonly string[]; readonly shim: readonly string[] };
  /** Where the gateways look for OpenBao, when something stands between. */
  readonly vaultAddresses?: (addr: string) => readonly string[] | Promise<readonly string[]>;
  /** Settings of the backend to add or replace. */
  readonly vaultSettings?: Readonly<Record<string, unknown>>;
  /** Settings of `redis` to add or replace, e.g. where something stands between. */
  readonly redisSettings?: (redis: RedisServer) => Promise<Readonly<Record<string, unknown>>>;
  readonly onProgress?: (text: string) => void;
  /** The name that gateways' certificates carry, where shims reach them by another one. */
  readonly serverName?: string;
  /** Called when the gateways serve, before any shim starts. */
  readonly onGateways?: (gateways: readonly LabGateway[]) => void;
  /** Ends the start in the middle: everything is stopped, startLab rejects. */
  readonly signal?: AbortSignal;
};

export type Lab = {
  readonly dir: string;
  readonly file: string;
  readonly processes: ProcessGroup;
  readonly pki: Pki;
  readonly registry: string;
  readonly vault: OpenBao | undefined;
  readonly redis: RedisServer | undefined;
  readonly gateways: LabGateway[];
  readonly shims: LabShim[];
  readonly fleet: (LabFleetService & { readonly contexts: string }) | undefined;
  readonly etcd: Etcd | undefined;
  readonly kubernetes: readonly ApiServer[];
  /** Ends everything that was started. */
  stop(): Promise<void>;
};

const cliMain = join(import.meta.dirname, "..", "..", "gateway", "cli", "src", "main.ts");

function numbered(count: number): readonly number[] {
  return Array.from({ length: count }, (_, i) => i + 1);
}
function processOf(proc: LabProcess) {
  return { pid: proc.pid, argv: proc.argv };
}

function writeLabJson(file: string, lab: Omit<Lab, "stop" | "file">): void {
  const { vault, redis, etcd, pki, fleet } = lab;
  const json = {
    shims: lab.shims.map(({ cluster, node, socket, metrics, config, proc }) => ({
      cluster,
      node,
      socket,
      ...processOf(proc),
      metrics,
      config,
    })),
    gateways: lab.gateways.map(({ url, metrics, config, proc }) => ({ url, ...processOf(proc), metrics, config })),
    vault:
      vault === undefined
        ? null
        : { addr: vault.addr, tokenFile: vault.tokenFile, ...processOf(vault.proc()), auditLog: vault.auditLog },
    redis:
      redis === undefined ? null : { url: redis.url, ...processOf(redis.proc()), passwordFile: redis.passwordFile },
    fleet:
      fleet === undefined
        ? null
        : {
            url: fleet.url,
            ...processOf(fleet.proc),
            metrics: `${fleet.admin}/metrics`,
            config: fleet.config,
            audit: fleet.audit,
            contexts: fleet.contexts,
          },
    // The pages are served to anybody; what is in them takes an operator.
    console:
      fleet === undefined
        ? null
        : { url: `${fleet.url}/`, argv: [process.execPath, cliMain, "console", "--config", fleet.contexts] },
    kubernetes: lab.kubernetes.map(({ server, tokenFile, caFile, socket, proc }) => ({
      server,
      tokenFile,
      caFile,
      etcd: etcd?.url,
      socket,
      ...processOf(proc()),
    })),
    etcd: etcd === undefined ? null : { url: etcd.url, ...processOf(etcd.proc) },
    pki: { ca: pki.ca, operatorCert: pki.operatorCert, operatorKey: pki.operatorKey },
    registry: lab.registry,
    audit: lab.gateways.map(({ audit }) => audit),
  };
  writeFileSync(file, `${JSON.stringify(json, undefined, 2)}\n`, { mode: 0o600 });
}

/**
 * Starts the lab. When it cannot, everything that was started is stopped again.
 * @throws Error with the last lines of the log of the part that failed
 */
export async function startLab(options: LabOptions): Promise<Lab> {
  const { dir, backend = "vault", kms = "v2", onProgress = () => {} } = options;
  claimDir(dir);
  const logs = join(dir, "logs");
  mkdirSync(logs, { recursive: true, mode: 0o700 });
  const processes = createProcessGroup(logs);
  const apiServers: ApiServer[] = [];
  const stop = async (): Promise<void> => {
    await processes.stopAll();
    await Promise.all(apiServers.map((server) => server.close()));
    releaseDir(dir);
  };
  const onAbort = (): void => void processes.stopAll();
  options.signal?.addEventListener("abort", onAbort, { once: true });
  try {
    const names = numbered(options.clusters ?? 1).map((n) => `cluster-${n}`);
    const { requestsPerSecond, sharedKey } = options;
    const clusters = names.map((name) => ({ name, key: sharedKey === true ? "shared" : name, requestsPerSecond }));
    const gatewayNames = numbered(options.gateways ?? 1).map((n) => `gateway-${n}`);
    onProgress("certificates, registry");
    const pki = await createPki(dir);
    const registry = writeRegistry(dir, clusters);

    if (backend === "vault") onProgress("OpenBao");
    if (options.redis !== false) onProgress("Redis");
    if (options.kubernetes === true) onProgress("etcd");
    const [vault, redis, etcd] = await Promise.all([
      backend === "vault" ? startOpenBao(processes, dir) : undefined,
      options.redis === false ? undefined : startRedis(processes, dir),
      options.kubernetes === true ? startEtcd(processes, dir) : undefined,
    ]);
    const keys = [...new Set(clusters.map(({ key }) => key))];
    const approles = vault === undefined ? undefined : await setUpTransit(vault, keys, gatewayNames, dir);
    const addresses = vault === undefined ? [] : ((await options.vaultAddresses?.(vault.addr)) ?? [vault.addr]);

    const redisSettings = redis === undefined ? undefined : await options.redisSettings?.(redis);

    onProgress("gateways");
    const startOne = async (name: string): Promise<LabGateway> => {
      const approle = approles?.get(name);
      const { gatewayExtra } = options;
      const extra = typeof gatewayExtra === "function" ? gatewayExtra(name) : gatewayExtra;
      return await startGateway({
        processes,
        dir,
        name,
        pki,
        registry,
        ...(approle !== undefined && { vault: { addresses, approle, settings: options.vaultSettings } }),
        ...(redis !== undefined && { redis }),
        ...(redisSettings !== undefined && { redisSettings }),
        ...(extra !== undefined && { extra }),
        ...(options.programs !== undefined && { program: options.programs.gateway }),
      });
    };
    const gateways = await Promise.all(gatewayNames.map(startOne));

    options.onGateways?.(gateways);
    onProgress("shims");
    const shims = await Promise.all(
      numbered(options.shims ?? 1).map(async (n) => {
        const cluster = names[(n - 1) % names.length] ?? "cluster-1";
        const urls = gateways.map(({ url }) => url);
        return await startShim({
          processes,
          dir,
          cluster,
          node: `node-${n}`,
          pki,
          gateways: urls,
          ...(options.serverName !== undefined && { serverName: options.serverName }),
          ...(options.shimExtra !== undefined && { extra: options.shimExtra }),
          ...(options.programs !== undefined && { program: options.programs.shim }),
        });
      }),
    );

    const startFleet = async () => {
      if (options.fleet !== true) return undefined;
      onProgress("fleet service");
      const none = { registry: undefined, tokens: undefined, approvals: undefined, pki: undefined };
      const base = {
        gateways: gateways.map(({ url }) => url),
        registry: { kind: "file", file: registry },
        operators: { ...operators, lab: { role: "admin" } },
        ...(vault !== undefined && { backends: { main: await fleetLogin(vault, dir, keys, none) } }),
        ...(vault !== undefined &&
          redis !== undefined && {
            redis: { kind: "standalone", node: `${redis.host}:${redis.port}`, passwordFile: redis.passwordFile },
            integrity: { backend: "main", mount: transitMount, key: integrityKey, version: 1 },
          }),
      };
      const pages = join(dir, "console");
      await buildConsole(pages);
      const settings = { ...base, console: { directory: pages }, ...options.fleetExtra };
      const service = await startFleetService({ processes, dir, pki, settings });
      return { ...service, contexts: writeContext(dir, service, pki, gateways[0]?.config ?? "") };
    };
    const fleet = await startFleet();

    if (etcd !== undefined) {
      onProgress("kube-apiserver");
      const own = shims.filter(({ cluster }) => cluster === names[0]);
      for (const [i, { socket }] of own.entries())
        apiServers.push(
          await startApiServer({
            processes,
            dir,
            name: `kube-apiserver-${i + 1}`,
            etcd,
            socket,
            kms,
            ...(options.apiServerArgs && { extraArgs: options.apiServerArgs }),
          }),
        );
      await Promise.all(apiServers.map((server) => server.waitReady()));
    }
    const lab = { dir, processes, pki, registry, vault, redis, gateways, shims, fleet, etcd, kubernetes: apiServers };
    const file = join(dir, "lab.json");
    writeLabJson(file, lab);
    options.signal?.throwIfAborted();
    return { ...lab, file, stop };
  } catch (error) {
    await stop();
    throw error;
  } finally {
    options.signal?.removeEventListener("abort", onAbort);
  }
}
