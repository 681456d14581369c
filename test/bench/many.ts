// A fleet of many clusters without any: their records in a registry, their nodes in a real Redis as a gateway writes
// them, and the fleet service that reads both.
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openBackend } from "@claviger/gateway-core/src/backend/open.ts";
import { integrityKey as derive, integritySchema } from "@claviger/gateway-core/src/key/integrity.ts";
import { openRedis, type RedisStore } from "@claviger/gateway-core/src/redis/client.ts";
import { redisSchema } from "@claviger/gateway-core/src/redis/config.ts";
import { reportGateway } from "@claviger/gateway-core/src/redis/gateway-reports.ts";
import { createNodeReports, type SeenNode } from "@claviger/gateway-core/src/redis/node-reports.ts";
import { checkConfig } from "@claviger/proto/runtime/config.ts";
import { silentLog } from "@claviger/proto/runtime/log.ts";
import { clusterName, type ClusterUid, clusterUid, nodeName } from "@claviger/proto/wire/names.ts";
import { createPki } from "../lab/fleet.ts";
import { type LabFleetService, startFleetService } from "../lab/fleet-service.ts";
import { integrityKey, transitMount } from "../lab/openbao.ts";
import type { ProcessGroup } from "../lab/process-group.ts";
import { type RedisServer, startRedis } from "../lab/redis.ts";
import { fileStore, type RegistryRow } from "./stores.ts";

const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const perCluster = 3;
const day = 86_400_000;
/** As many nodes as are written together in half a second. */
const together = 2000;
const writeMs = 600;

export const gatewayName = "gateway-1:8443";

function uidOf(i: number): ClusterUid {
  const tail = [15, 10, 5, 0].map((shift) => digits[(i >> shift) & 31] ?? "").join("");
  return clusterUid.parse(`01JD9Z6X3QK8V5T7W2M4N6${tail}`);
}

export function nodesOf(clusters: number): readonly SeenNode[] {
  const now = Date.now();
  return Array.from({ length: clusters * perCluster }, (_, i) => ({
    cluster: uidOf(Math.floor(i / perCluster)),
    node: nodeName.parse(`cp-${(i % perCluster) + 1}.cluster-${Math.floor(i / perCluster) + 1}.example`),
    certificate: {
      serial: `0A1B2C3D4E5F${i.toString(16)}`.toUpperCase(),
      notBefore: now - day / 4,
      notAfter: now + day,
    },
    header: `version=0.2.0;phase=0;good=58;key=clv1.${String(i).padStart(43, "k")};config=0123456789abcdef`,
  }));
}

/** What a gateway writes of these nodes. */
export async function writeNodes(
  redis: RedisStore,
  secret: Uint8Array,
  nodes: readonly SeenNode[],
): Promise<ReturnType<typeof createNodeReports>> {
  const reports = createNodeReports({ redis, secret: () => secret, gateway: () => gatewayName });
  for (let i = 0; i < nodes.length; i += together) {
    for (const node of nodes.slice(i, i + together)) reports.seen(node);
    await sleep(writeMs);
  }
  return reports;
}

async function writeRegistry(dir: string, clusters: number): Promise<string> {
  const rows = Array.from({ length: clusters }, (_, i): RegistryRow => {
    const name = clusterName.parse(`cluster-${i + 1}`);
    return { name, uid: uidOf(i), generation: 1, state: i % 100 === 99 ? "suspended" : "active" };
  });
  const store = fileStore(dir);
  await store.fill(rows);
  return join(dir, "clusters.yaml");
}

export type ManyClusters = {
  readonly fleet: LabFleetService;
  readonly server: RedisServer;
  readonly redis: RedisStore;
  readonly secret: Uint8Array;
  readonly close: () => Promise<void>;
};

/** @param more settings of the fleet service */
export async function startManyClusters(
  processes: ProcessGroup,
  dir: string,
  clusters: number,
  more: Readonly<Record<string, unknown>> = {},
): Promise<ManyClusters> {
  const server = await startRedis(processes, dir);
  const registry = await writeRegistry(dir, clusters);
  const main = { kind: "embedded", file: join(dir, "keys.json") } as const;
  const settings = { kind: "standalone", node: `${server.host}:${server.port}`, passwordFile: server.passwordFile };
  const integrity = { backend: "main", mount: transitMount, key: integrityKey, version: 1 };
  const backend = await openBackend({ name: "main", config: main, log: silentLog });
  const secret = await derive(backend, checkConfig("", integrity, integritySchema), AbortSignal.timeout(5000));
  const redis = openRedis(checkConfig("", settings, redisSchema), silentLog);
  await redis.connected(AbortSignal.timeout(5000));
  const read = () => ({
    version: "0.2.0",
    startedAt: Date.now(),
    eventLoop: 0.1,
    connections: 1,
    backends: [],
    certificates: [],
    problems: {},
  });
  const gateway = reportGateway({ redis, secret: () => secret, name: gatewayName, read });
  const fleet = await startFleetService({
    processes,
    dir,
    pki: await createPki(dir),
    settings: {
      gateways: ["https://gateway.example:8443"],
      registry: { kind: "file", file: registry },
      backends: { main },
      redis: settings,
      integrity,
      ...more,
    },
  });
  return {
    fleet,
    server,
    redis,
    secret,
    async close() {
      await gateway.close();
      redis.close();
      await backend.close();
    },
  };
}
