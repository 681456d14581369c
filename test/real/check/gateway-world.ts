// What a gateway's --check meets in its tests: a real OpenBao that listens with TLS, a real Redis, a
// PKI, and a configuration that is right, of which a test makes a wrong one.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { createPki, type Pki, writeGatewayConfig, writeRegistry } from "../../lab/fleet.ts";
import { type OpenBao, setUpTransit, startOpenBao } from "../../lab/openbao.ts";
import { createProcessGroup, freePorts, type ProcessGroup } from "../../lab/process-group.ts";
import { type RedisServer, startRedis } from "../../lab/redis.ts";
import { type Ended, runToEnd } from "./programs.ts";

type Tree = { [name: string]: unknown };
export type Change = Readonly<Record<string, unknown>>;

function isTree(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Settings with some of them changed; undefined takes one away. */
function changed(tree: Tree, change: Change): Tree {
  const next: Tree = { ...tree };
  for (const [name, value] of Object.entries(change)) {
    const before = next[name];
    if (value === undefined) delete next[name];
    else next[name] = isTree(value) && isTree(before) ? changed(before, value) : value;
  }
  return next;
}

export type GatewayWorld = {
  readonly dir: string;
  readonly processes: ProcessGroup;
  readonly pki: Pki;
  readonly bao: OpenBao;
  readonly redis: RedisServer;
  readonly ports: { readonly listen: number; readonly admin: number };
  /** Settings of the good configuration. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly clusters: string;
  readonly secretIdFile: string;
  /** A file of the world's own; the path. */
  put(name: string, text: string, mode?: number): string;
  /** The path of a configuration with these changes. */
  config(change?: Change): string;
  check(change?: Change): Promise<Ended>;
  /** What a start says; a gateway that starts is ended after so many milliseconds, five seconds as a rule. */
  start(change: Change, ms?: number): Promise<Ended>;
  stop(): Promise<void>;
};

export async function startGatewayWorld(): Promise<GatewayWorld> {
  const dir = await mkdtemp(join(tmpdir(), "claviger-check-"));
  const processes = createProcessGroup(dir);
  const pki = await createPki(dir);
  const server = await pki.gateway("vault");
  const [port = 0, clusterPort = 0, listen = 0, admin = 0] = await freePorts(4);
  const bao = await startOpenBao(
    processes,
    dir,
    `listener "tcp" { address = "127.0.0.1:${port}"  cluster_address = "127.0.0.1:${clusterPort}"  tls_cert_file = "${server.cert}"  tls_key_file = "${server.key}" }`,
  );
  const keys = ["cluster-1", "cluster-2"];
  const approle = (await setUpTransit(bao, keys, ["gw"], dir)).get("gw");
  if (approle === undefined) throw new Error("no credentials");
  const redis = await startRedis(processes, dir);
  const clusters = writeRegistry(
    dir,
    keys.map((key) => ({ name: key, key })),
  );
  const vault = { addresses: [`https://127.0.0.1:${port}`], approle };
  const written = await writeGatewayConfig(
    { processes, dir, name: "gw", pki, registry: clusters, vault, redis },
    {
      listen,
      admin,
    },
  );
  const settings = changed(parse(readFileSync(written.config, "utf8")) as Tree, {
    backends: { main: { tls: { ca: pki.ca } } },
  });
  mkdirSync(join(dir, "put"), { mode: 0o700 });
  let count = 0;
  const put = (name: string, text: string, mode = 0o600): string => {
    const path = join(dir, "put", name);
    rmSync(path, { force: true });
    writeFileSync(path, text, { mode });
    return path;
  };
  const config = (change: Change = {}): string =>
    put(`gateway-${++count}.yaml`, stringify(changed({ ...settings }, change)));
  return {
    dir,
    processes,
    pki,
    bao,
    redis,
    ports: { listen, admin },
    settings,
    clusters,
    secretIdFile: approle.secretIdFile,
    put,
    config,
    check: (change) => runToEnd("gateway", ["--config", config(change), "--check"]),
    start: (change, ms = 5000) => runToEnd("gateway", ["--config", config(change)], ms),
    async stop() {
      await processes.stopAll();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** A server that does `serve` with each connection, for as long as `use` takes. */
export async function withServer<T>(
  listen: string | number,
  serve: Parameters<typeof createServer>[1],
  use: (port: number) => Promise<T>,
): Promise<T> {
  const server: Server = createServer(serve);
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => sockets.add(socket.on("error", () => {})));
  await new Promise<void>((resolve) => {
    if (typeof listen === "string") server.listen(listen, resolve);
    else server.listen(listen, "127.0.0.1", resolve);
  });
  const address = server.address();
  try {
    return await use(typeof address === "object" && address !== null ? address.port : 0);
  } finally {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
}
