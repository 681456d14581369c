// The site that faults happen to: an OpenBao of three nodes, Redis, two gateways, three nodes of one cluster
// with a shim each, and on the first of them a kube-apiserver with its etcd. Programs are the shipped bundles.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { buildShipped } from "../bench/shipped.ts";
import {
  createPki,
  type GatewayOptions,
  type LabGateway,
  type Pki,
  startGateway,
  startShim,
  writeRegistry,
} from "../lab/fleet.ts";
import { type ApiServer, startApiServer, startEtcd } from "../lab/kubernetes.ts";
import { setUpTransit, transitMount } from "../lab/openbao.ts";
import { createProcessGroup, type LabProcess, type ProcessGroup, readyLine } from "../lab/process-group.ts";
import { type Raft, type RaftNode, startRaft } from "../lab/raft.ts";
import { type RedisServer, startRedis } from "../lab/redis.ts";
import { type Collector, startCollector } from "./collector.ts";
import { mountSmall, unmount } from "./mounts.ts";
import type { Network } from "./network.ts";
import { createPart, healthOf, type Part, rotateKey } from "./part.ts";

export type { Part };

export type GatewayPart = Part & {
  readonly options: GatewayOptions;
  readonly gateway: LabGateway;
  /** Its second audit sink. */
  readonly collector: Collector;
};
export type ShimPart = Part & { readonly machine: string; readonly socket: string; readonly config: string };
export type Programs = { readonly gateway: readonly string[]; readonly shim: readonly string[] };

export type Site = {
  readonly dir: string;
  readonly processes: ProcessGroup;
  readonly network: Network;
  readonly programs: Programs;
  readonly pki: Pki;
  readonly raft: Raft;
  readonly redis: RedisServer;
  readonly redisPart: Part;
  readonly gateways: readonly GatewayPart[];
  readonly shims: readonly ShimPart[];
  readonly etcd: Part;
  readonly api: ApiServer;
  readonly apiPart: Part;
  readonly nodePart: (node: RaftNode) => Part;
  /** Makes a new version of the cluster's key. */
  rotate(): Promise<void>;
  stop(): Promise<void>;
};

export const machines = [
  "openbao-0",
  "openbao-1",
  "openbao-2",
  "redis",
  "gateway-1",
  "gateway-2",
  "node-1",
  "node-2",
  "node-3",
] as const;
const cluster = "cluster-1";

export type SiteOptions = {
  readonly dir: string;
  readonly network: Network;
  /** Whether this process has a mount namespace of its own: disks that are to be full are small then. */
  readonly isIsolated: boolean;
  readonly say: (text: string) => void;
};

/** Where a gateway's audit file is. */
export function auditDir(dir: string, gateway: string): string {
  return join(dir, `${gateway}.audit`);
}

/** Where a node of OpenBao keeps its data. */
export function storageDir(dir: string, node: number): string {
  return join(dir, `openbao-${node}`, "raft");
}

/** MiB. Records of a whole run are some 20: a disk that they fill takes the gateways of 0.1.0 away, which write to it alone. */
const disks = { audit: 64, storage: 160 } as const;

/** Starts everything. When that fails, what was started is stopped again. */
export async function startSite({ dir, network, isIsolated, say }: SiteOptions): Promise<Site> {
  const folder = (name: string): string => {
    mkdirSync(join(dir, name), { recursive: true, mode: 0o700 });
    return join(dir, name);
  };
  say("bundles");
  const programs = {
    gateway: buildShipped("claviger-gateway", folder("programs")),
    shim: buildShipped("claviger-shim", folder("programs")),
  };
  const names = ["gateway-1", "gateway-2"];
  const small = isIsolated
    ? [
        ...names.map((name) => [auditDir(dir, name), disks.audit] as const),
        ...[0, 1, 2].map((n) => [storageDir(dir, n), disks.storage] as const),
      ]
    : [];
  for (const [at, mib] of small) mountSmall(at, mib);
  const collectors: Collector[] = [];
  const processes = createProcessGroup(folder("logs"));
  const end = async (): Promise<void> => {
    await processes.stopAll();
    for (const collector of collectors) collector.close();
    for (const [at] of small) unmount(at);
  };
  try {
    say("OpenBao, Redis, etcd");
    const pki = await createPki(dir);
    const registry = writeRegistry(dir, [{ name: cluster, key: cluster }]);
    const [raft, redis, etcd] = await Promise.all([
      startRaft(
        processes,
        dir,
        [0, 1, 2].map((n) => network.place(`openbao-${n}`)),
      ),
      startRedis(processes, dir, network.place("redis")),
      startEtcd(processes, dir),
    ]);
    const approles = await setUpTransit(raft, [cluster], names, dir);
    say("gateways, shims, kube-apiserver");
    const serving = async (proc: LabProcess): Promise<unknown> => await readyLine(proc);
    const startGatewayPart = async (name: string): Promise<GatewayPart> => {
      const approle = approles.get(name);
      if (approle === undefined) throw new TypeError(`no AppRole for ${name}`);
      const collector = await startCollector(join(dir, `${name}.collector`));
      collectors.push(collector);
      const options: GatewayOptions = {
        processes,
        dir,
        name,
        pki,
        registry,
        redis,
        place: network.place(name),
        program: programs.gateway,
        vault: { addresses: raft.nodes.map(({ addr }) => addr), approle },
        extra: {
          audit: {
            sinks: [
              { kind: "file", path: join(folder(`${name}.audit`), "audit.jsonl") },
              { kind: "syslog-socket", path: collector.path },
            ],
          },
        },
      };
      const gateway = await startGateway(options);
      return { ...createPart(processes, gateway.proc, serving), options, gateway, collector };
    };
    const gateways = await Promise.all(names.map(startGatewayPart));
    const startShimPart = async (node: string): Promise<ShimPart> => {
      const urls = gateways.map(({ gateway }) => gateway.url);
      const place = network.place(node);
      const shim = await startShim({
        processes,
        dir,
        cluster,
        node,
        pki,
        gateways: urls,
        place,
        program: programs.shim,
      });
      return { ...createPart(processes, shim.proc, serving), machine: node, socket: shim.socket, config: shim.config };
    };
    const shims = await Promise.all(["node-1", "node-2", "node-3"].map(startShimPart));
    const api = await startApiServer({
      processes,
      dir,
      name: "kube-apiserver-1",
      etcd,
      ...(shims[0] !== undefined && { socket: shims[0].socket }),
    });
    await api.waitReady();
    return {
      dir,
      processes,
      network,
      programs,
      pki,
      raft,
      redis,
      gateways,
      shims,
      api,
      redisPart: { name: "redis", proc: redis.proc, start: () => redis.start() },
      etcd: createPart(processes, etcd.proc, healthOf(etcd.url)),
      apiPart: { name: "kube-apiserver", proc: api.proc, start: () => api.restart() },
      nodePart: (node) => ({
        name: node.addr,
        proc: node.proc,
        async start() {
          await node.start();
          await node.unseal();
        },
      }),
      rotate: () => rotateKey(raft, `${transitMount}/keys/${cluster}`),
      async stop() {
        await end();
        await api.close();
        await raft.close();
      },
    };
  } catch (error) {
    await end();
    throw error;
  }
}
