// The real parts of a run: OpenBao, Redis, a registry of any size and the gateways, set up as a large
// fleet would; and the names of the shims that call.
import { mkdirSync, rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { newClusterUid } from "@claviger/gateway-core/src/registry/edit/uid.ts";
import { openBackend } from "@claviger/gateway-core/src/backend/open.ts";
import { createGate } from "@claviger/gateway-core/src/registry/gate.ts";
import { silentLog } from "@claviger/proto/runtime/log.ts";
import { clusterName } from "@claviger/proto/wire/names.ts";
import { createPki, type LabGateway, type Pki, startGateway } from "../../lab/fleet.ts";
import { gatewayPolicy, type OpenBao, setUpTransit, startOpenBao, transitMount } from "../../lab/openbao.ts";
import { createProcessGroup, freePorts, type ProcessGroup } from "../../lab/process-group.ts";
import { type RedisServer, startRedis } from "../../lab/redis.ts";
import { buildShipped } from "../shipped.ts";
import { directoryStore, documentStore, fileStore, type RegistryRow, type Store } from "../stores.ts";
import type { CaTexts, Identity } from "./protocol.ts";

export type RegistryKind = "file" | "directory" | "vault";

export type WorldOptions = {
  readonly clusters: number;
  readonly gateways: number;
  readonly registry: RegistryKind;
  /** The gateways' `listen.limits.connections`. */
  readonly connections: number;
  /** The gateways' `keys.refresh`. */
  readonly refresh: string;
  /** More of the gateways' settings. */
  readonly extra?: Readonly<Record<string, unknown>>;
  /** OpenBao also writes down what was asked in the clear: see World.rawAudit. */
  readonly isRaw?: boolean;
};

export type World = {
  readonly dir: string;
  readonly processes: ProcessGroup;
  readonly pki: Pki;
  readonly ca: CaTexts;
  readonly bao: OpenBao;
  /** OpenBao's second audit file, with nothing hashed. There only with `isRaw`. */
  readonly rawAudit: string;
  readonly redis: RedisServer;
  readonly gateways: LabGateway[];
  /** The clusters' names; each has a Transit key of that name. */
  readonly clusters: readonly string[];
  /** Milliseconds to make the keys, and to fill the registry. */
  readonly setUp: { readonly keys: number; readonly registry: number };
  stop(): Promise<void>;
};

/** Of one width, as certificates.ts wants them. */
export function clusterNameAt(i: number): string {
  return `cluster-${String(i + 1).padStart(5, "0")}`;
}

async function timed(run: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await run();
  return performance.now() - began;
}

async function makeKeys(bao: OpenBao, names: readonly string[]): Promise<void> {
  const gate = createGate(32);
  const type = "aes256-gcm96";
  await Promise.all(names.map((name) => gate(() => bao.call("POST", `${transitMount}/keys/${name}`, { type }))));
}

const registryMount = "claviger";

async function storeOf(kind: RegistryKind, bao: OpenBao, dir: string, rows: readonly RegistryRow[]): Promise<Store> {
  switch (kind) {
    case "file": {
      const store = fileStore(dir);
      await store.fill(rows);
      return store;
    }
    case "directory": {
      const store = directoryStore(dir, rows.length);
      await store.fill(rows);
      return store;
    }
    case "vault": {
      await bao.call("POST", `sys/mounts/${registryMount}`, { type: "kv", options: { version: "2" } });
      const auth = { kind: "token-file" as const, file: bao.tokenFile };
      const config = { kind: "vault" as const, addresses: [bao.addr], auth };
      const backend = await openBackend({ name: "main", config, log: silentLog });
      if (backend.documents === undefined) throw new TypeError("a backend of kind vault has documents");
      const store = documentStore(backend.documents);
      await store.fill(rows);
      await backend.close();
      return store;
    }
  }
}

/** One policy for all keys, however many there are. */
function policyOf(kind: RegistryKind): string {
  const registry = [
    `path "${registryMount}/data/*" { capabilities = ["read"] }`,
    `path "${registryMount}/metadata/*" { capabilities = ["read", "list"] }`,
    `path "${registryMount}/data/registry-canary/*" { capabilities = ["create", "read", "update"] }`,
  ];
  return [gatewayPolicy(["+"]), ...(kind === "vault" ? registry : [])].join("\n");
}

/** @param say called with what is being done */
export async function startWorld(options: WorldOptions, say: (text: string) => void): Promise<World> {
  const dir = await mkdtemp(join(tmpdir(), "claviger-fleet-"));
  const logs = join(dir, "logs");
  mkdirSync(logs);
  const processes = createProcessGroup(logs);
  const stop = async (): Promise<void> => {
    await processes.stopAll();
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    return { ...(await start(options, say, dir, processes)), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function start(
  { clusters, gateways, registry, connections, refresh, extra, isRaw = false }: WorldOptions,
  say: (text: string) => void,
  dir: string,
  processes: ProcessGroup,
): Promise<Omit<World, "stop">> {
  say("OpenBao, Redis, certificates of the gateways");
  const rawAudit = join(dir, "raw-audit.log");
  const raw = `audit "file" "raw" { options { file_path = "${rawAudit}"  log_raw = "true" } }`;
  const [bao, redis, pki] = await Promise.all([
    startOpenBao(processes, dir, isRaw ? raw : ""),
    startRedis(processes, dir),
    createPki(dir),
  ]);
  const names = Array.from({ length: gateways }, (_, i) => `gateway-${i + 1}`);
  const approles = await setUpTransit(bao, [], names, dir);
  await bao.call("PUT", "sys/policies/acl/claviger-gateway", { policy: policyOf(registry) });
  const clusterNames = Array.from({ length: clusters }, (_, i) => clusterNameAt(i));
  say(`${clusters} keys, and as many records in a registry of kind ${registry}`);
  const keys = await timed(() => makeKeys(bao, clusterNames));
  const rows = clusterNames.map((name) => ({
    name: clusterName.parse(name),
    uid: newClusterUid(),
    generation: 1,
    state: "active",
  }));
  let store: Store | undefined;
  const filled = await timed(async () => (store = await storeOf(registry, bao, dir, rows)));
  say("gateways, from the bundle that is shipped");
  const program = buildShipped("claviger-gateway", join(dir, "shipped"));
  const ports = await freePorts(gateways);
  const started = await Promise.all(
    names.map((name, i) => {
      const approle = approles.get(name);
      if (approle === undefined) throw new TypeError("a gateway without credentials");
      return startGateway({
        processes,
        dir,
        name,
        pki,
        registry: "",
        program,
        redis,
        vault: { addresses: [bao.addr], approle },
        extra: {
          registry: store?.registry,
          // A port of its own: a gateway that is started again must be where it was.
          listen: { address: "127.0.0.1", port: ports[i], limits: { connections } },
          keys: { refresh },
          ...extra,
        },
      });
    }),
  );
  const { authority } = pki;
  const ca = { cert: authority.cert, key: authority.key.use((pem) => pem) };
  return {
    dir,
    processes,
    pki,
    ca,
    bao,
    rawAudit,
    redis,
    gateways: started,
    clusters: clusterNames,
    setUp: { keys, registry: filled },
  };
}

/**
 * The shims of a fleet, cluster by cluster.
 * @param attach `both`: each has all gateways in its configuration, as a real one; `one`: each has one, in
 * turn, so that many more shims fit under the limit of open files
 */
export function identitiesOf(
  { clusters, gateways }: Pick<World, "clusters" | "gateways">,
  nodes: number,
  attach: "both" | "one",
): readonly Identity[] {
  const urls = gateways.map(({ url }) => url);
  return clusters.flatMap((cluster, c) =>
    Array.from({ length: nodes }, (_, n) => ({
      index: c * nodes + n,
      cluster,
      node: `node-${String(n + 1).padStart(3, "0")}`,
      gateways: attach === "both" ? urls : [urls[(c + n) % urls.length] ?? ""],
    })),
  );
}
