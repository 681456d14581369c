// Claviger itself, as the lab runs it: certificates, registry, gateways and shims, each in a
// process of its own.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Ca, createCa, issueGateway, issueNode, issueOperator } from "@claviger/gateway-core/src/pki/authority.ts";
import { type PairFiles, writeCa, writePem } from "@claviger/gateway-core/src/pki/files.ts";
import { newClusterUid } from "@claviger/gateway-core/src/registry/edit/uid.ts";
import { stringify } from "yaml";
import { type AppRoleFiles, integrityKey, type OpenBao, transitMount } from "./openbao.ts";
import { loopback, type Place } from "./place.ts";
import { type ProcessGroup, type LabProcess, readyLine } from "./process-group.ts";
import type { RedisServer } from "./redis.ts";

const root = join(import.meta.dirname, "..", "..");
export const trustDomain = "lab.claviger.test";

export type Pki = {
  readonly authority: Ca;
  readonly ca: string;
  readonly operatorCert: string;
  readonly operatorKey: string;
  node(cluster: string, node: string): Promise<PairFiles>;
  /** @param ip that it is reached at; loopback when absent */
  gateway(name: string, ip?: string): Promise<PairFiles>;
};

export async function createPki(dir: string): Promise<Pki> {
  const home = join(dir, "pki");
  const authority = await createCa({ trustDomain });
  const { cert } = await writeCa(home, authority);
  const operator = await writePem({
    dir: home,
    name: "operator",
    pair: await issueOperator({ ca: authority, name: "lab" }),
  });
  return {
    authority,
    ca: cert,
    operatorCert: operator.cert,
    operatorKey: operator.key,
    node: async (cluster, node) =>
      await writePem({
        dir: home,
        name: `${cluster}.${node}`,
        pair: await issueNode({ ca: authority, cluster, node }),
      }),
    gateway: async (name, ip = loopback.host) =>
      await writePem({
        dir: home,
        name,
        pair: await issueGateway({ ca: authority, dnsNames: ["localhost"], ips: [ip] }),
      }),
  };
}

/** One cluster of the lab and the Transit key that it uses. */
export type LabCluster = {
  readonly name: string;
  readonly key: string;
  /** The default of a record when absent. */
  readonly requestsPerSecond?: number | undefined;
};

export function writeRegistry(dir: string, clusters: readonly LabCluster[]): string {
  const file = join(dir, "clusters.yaml");
  const records = clusters.map(({ name, key, requestsPerSecond }) => ({
    name,
    uid: newClusterUid(),
    state: "active",
    rotation: "auto",
    ...(requestsPerSecond !== undefined && { limits: { requestsPerSecond } }),
    keys: [{ backend: "main", mount: transitMount, key }],
  }));
  writeFileSync(file, stringify({ clusters: records }), { mode: 0o600 });
  return file;
}

export type LabGateway = {
  readonly name: string;
  readonly url: string;
  readonly metrics: string;
  readonly config: string;
  readonly audit: string;
  readonly proc: LabProcess;
};

export type GatewayOptions = {
  readonly processes: ProcessGroup;
  readonly dir: string;
  readonly name: string;
  readonly pki: Pki;
  readonly registry: string;
  /** Undefined: the embedded backend, one file for all gateways of the lab. */
  readonly vault?: {
    readonly addresses: readonly string[];
    readonly approle: AppRoleFiles;
    /** Settings of the backend to add or replace. */
    readonly settings?: Readonly<Record<string, unknown>> | undefined;
  };
  readonly redis?: RedisServer;
  /** Settings of `redis` to add or replace. */
  readonly redisSettings?: Readonly<Record<string, unknown>>;
  /** Settings to add or replace. */
  readonly extra?: Readonly<Record<string, unknown>>;
  /** What to start instead of the sources: a command line that lacks `--config FILE`. */
  readonly program?: readonly string[];
  readonly place?: Place;
};

/** The configuration of one gateway, written to a file. `port` 0 takes any. */
export async function writeGatewayConfig(
  { dir, name, pki, registry, vault, redis, redisSettings, extra, place = loopback }: GatewayOptions,
  ports = { listen: 0, admin: 0 },
): Promise<{ readonly config: string; readonly audit: string }> {
  const home = join(dir, name);
  mkdirSync(home, { recursive: true, mode: 0o700 });
  const tls = await pki.gateway(name, place.host);
  const audit = join(home, "audit.jsonl");
  const backend =
    vault === undefined
      ? { kind: "embedded", file: join(dir, "keys.json") }
      : {
          kind: "vault",
          addresses: [...vault.addresses],
          auth: { kind: "approle", mount: "approle", ...vault.approle },
          ...vault.settings,
        };
  const settings = {
    listen: { address: place.host, port: ports.listen },
    admin: { address: place.host, port: ports.admin },
    tls: { cert: tls.cert, key: tls.key, clientCa: pki.ca },
    trustDomain,
    registry: { kind: "file", file: registry },
    backends: { main: backend },
    keys: { refresh: "1s", canary: "2s" },
    audit: { sinks: [{ kind: "file", path: audit }] },
    ...((vault !== undefined || redis !== undefined) && {
      integrity: { backend: "main", mount: transitMount, key: integrityKey, version: 1 },
    }),
    ...(redis !== undefined && {
      redis: {
        kind: "standalone",
        node: `${redis.host}:${redis.port}`,
        passwordFile: redis.passwordFile,
        ...redisSettings,
      },
    }),
    ...extra,
  };
  const config = join(home, "gateway.yaml");
  writeFileSync(config, stringify(settings), { mode: 0o600 });
  return { config, audit };
}

function portOf(url: unknown): number {
  return Number(new URL(String(url)).port);
}

/**
 * Starts a gateway and waits until it serves. Its ports are then fixed in its configuration, so
 * that it starts again on the same ones.
 */
export async function startGateway(options: GatewayOptions): Promise<LabGateway> {
  const { config, audit } = await writeGatewayConfig(options);
  const program = options.program ?? [process.execPath, join(root, "gateway", "server", "src", "main.ts")];
  const enter = options.place?.enter ?? [];
  const proc = options.processes.start(options.name, [...enter, ...program, "--config", config]);
  const ready = await readyLine(proc);
  await writeGatewayConfig(options, { listen: portOf(ready["listen"]), admin: portOf(ready["admin"]) });
  return {
    name: options.name,
    url: String(ready["listen"]),
    metrics: `${String(ready["admin"])}/metrics`,
    config,
    audit,
    proc,
  };
}

export type LabShim = {
  readonly cluster: string;
  readonly node: string;
  readonly socket: string;
  readonly metrics: string;
  readonly config: string;
  readonly proc: LabProcess;
};

export type ShimOptions = {
  readonly processes: ProcessGroup;
  readonly dir: string;
  readonly cluster: string;
  readonly node: string;
  readonly pki: Pki;
  readonly gateways: readonly string[];
  /** The name that the gateways' certificates must carry, where that is not the host of their URL. */
  readonly serverName?: string;
  readonly extra?: Readonly<Record<string, unknown>>;
  /** What to start instead of the sources: a command line that lacks `--config FILE`. */
  readonly program?: readonly string[];
  readonly place?: Place;
};

/** Starts a shim and waits until its socket is there. */
export async function startShim({
  processes,
  dir,
  cluster,
  node,
  pki,
  gateways,
  serverName,
  extra,
  program = [process.execPath, join(root, "shim", "src", "main.ts")],
  place = loopback,
}: ShimOptions): Promise<LabShim> {
  const name = `shim-${cluster}-${node}`;
  const home = join(dir, name);
  mkdirSync(home, { recursive: true, mode: 0o700 });
  const pair = await pki.node(cluster, node);
  const config = join(home, "shim.yaml");
  const socket = join(home, "kms.sock");
  const write = (port: number): void => {
    const settings = {
      socket: { path: socket, mode: "0600" },
      gateways,
      tls: { cert: pair.cert, key: pair.key, ca: pki.ca, ...(serverName !== undefined && { serverName }) },
      health: { address: place.host, port },
      ...extra,
    };
    writeFileSync(config, stringify(settings), { mode: 0o600 });
  };
  write(0);
  const proc = processes.start(name, [...place.enter, ...program, "--config", config]);
  const ready = await readyLine(proc);
  write(portOf(ready["health"]));
  return { cluster, node, socket, metrics: `${String(ready["health"])}/metrics`, config, proc };
}

export type { OpenBao };
