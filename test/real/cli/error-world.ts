// What the CLI's errors are tried against: a Vault over TLS and in the clear, a Redis, an etcd that
// wants client certificates, and places where something is wrong. And one run of a command line.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createCa, issueGateway, issueNode } from "@claviger/gateway-core/src/pki/authority.ts";
import { writeCa, writePem } from "@claviger/gateway-core/src/pki/files.ts";
import { runCli } from "@claviger/cli/src/run.ts";
import { type OpenBao, startOpenBao } from "../../lab/openbao.ts";
import { freePorts, type ProcessGroup, until } from "../../lab/process-group.ts";
import { type RedisServer, startRedis } from "../../lab/redis.ts";
import { findBinary } from "../../parts/find.ts";

export type Ran = { readonly status: number; readonly out: string; readonly err: string };

/** A site's settings; what is left out is as it should be. */
export type Site = {
  /** Settings of the backend `main` that differ. */
  readonly main?: object;
  readonly registry?: string | object;
  readonly redis?: object;
  readonly integrity?: object;
  readonly serves?: object;
};

export type World = {
  readonly dir: string;
  readonly bao: OpenBao;
  /** The same Vault over TLS, and the CA of its certificate. */
  readonly tlsAddr: string;
  readonly ca: string;
  /** A CA that signed nothing here, and a client's pair of it. */
  readonly strangers: { readonly ca: string; readonly cert: string; readonly key: string };
  readonly redis: RedisServer;
  readonly etcd: { readonly url: string; readonly cert: string; readonly key: string };
  /** `http://127.0.0.1:PORT` where nothing listens. */
  readonly closed: string;
  /** Answers `{"data":{}}` to everything. */
  readonly strange: string;
  readonly tokens: { readonly root: string; readonly weak: string };
  /** Writes a gateway's configuration with its registry; returns its path. */
  site(name: string, settings?: Site): string;
  /** The settings in such a file. */
  settingsOf(config: string): object;
  /** Runs a command line, with the root token unless `env` says another. */
  run(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<Ran>;
  close(): Promise<void>;
};

export const uid = "01JD9Z6X3QK8V5T7W2M4N6P8RA";

/** A registry of some clusters, each under `transit/NAME` of the backend `main`. */
export function registryOf(...names: readonly string[]): string {
  return `clusters:\n${names
    .map(
      (name, i) =>
        `  - { name: ${name}, uid: 01JD9Z6X3QK8V5T7W2M4N6P8R${"ABCDEFGH"[i]}, state: active, keys: [{ backend: main, mount: transit, key: ${name} }] }\n`,
    )
    .join("")}`;
}

async function startEtcd(processes: ProcessGroup, dir: string, ca: string, files: { cert: string; key: string }) {
  const [port = 0, peerPort = 0] = await freePorts(2);
  const url = `https://127.0.0.1:${port}`;
  const proc = processes.start("etcd", [
    findBinary("etcd"),
    `--data-dir=${join(dir, "etcd")}`,
    `--listen-client-urls=${url}`,
    `--advertise-client-urls=${url}`,
    `--listen-peer-urls=http://127.0.0.1:${peerPort}`,
    `--initial-advertise-peer-urls=http://127.0.0.1:${peerPort}`,
    `--initial-cluster=default=http://127.0.0.1:${peerPort}`,
    `--cert-file=${files.cert}`,
    `--key-file=${files.key}`,
    `--trusted-ca-file=${ca}`,
    "--client-cert-auth",
    "--logger=zap",
  ]);
  await until("etcd to serve", proc, () =>
    readFileSync(proc.log, "utf8").includes("ready to serve") ? true : undefined,
  );
  return url;
}

/** Something that speaks HTTP and is no Vault. */
async function startStrange(): Promise<Server> {
  const server = createServer((request, response) => {
    response.setHeader("content-type", "application/json");
    response.end(request.url?.includes("sys/health") === true ? '{"data":{"sealed":false}}' : '{"data":{}}');
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

/** Starts all of it below `dir`. */
export async function createWorld(processes: ProcessGroup, dir: string): Promise<World> {
  const authority = await createCa({ trustDomain: "fleet.example", validity: 1 });
  await writeCa(dir, authority);
  const ca = join(dir, "ca.crt");
  const server = await writePem({
    dir,
    name: "server",
    pair: await issueGateway({ ca: authority, dnsNames: ["localhost"], ips: ["127.0.0.1"], validity: 1 }),
  });
  const client = await writePem({
    dir,
    name: "client",
    pair: await issueNode({ ca: authority, cluster: "prod", node: "cp-1", validity: 1 }),
  });
  const elsewhere = join(dir, "strangers");
  const stranger = await createCa({ trustDomain: "else.example", validity: 1 });
  await writeCa(elsewhere, stranger);
  const strangersPair = await writePem({
    dir: elsewhere,
    name: "client",
    pair: await issueNode({ ca: stranger, cluster: "prod", node: "cp-1", validity: 1 }),
  });
  const [tlsPort = 0, closedPort = 0] = await freePorts(2);
  const bao = await startOpenBao(
    processes,
    dir,
    `listener "tcp" { address = "127.0.0.1:${tlsPort}"  tls_cert_file = "${server.cert}"  tls_key_file = "${server.key}" }`,
  );
  await bao.call("POST", "sys/mounts/transit", { type: "transit" });
  for (const key of ["prod", "integrity"]) await bao.call("POST", `transit/keys/${key}`, { type: "aes256-gcm96" });
  const { auth } = await bao.call<{ auth: { client_token: string } }>("POST", "auth/token/create", {
    policies: ["default"],
  });
  const root = readFileSync(bao.tokenFile, "utf8");
  const tokens = { root, weak: auth.client_token };
  const redis = await startRedis(processes, dir);
  const etcdUrl = await startEtcd(processes, dir, ca, server);
  const strange = await startStrange();
  const world: World = {
    dir,
    bao,
    tlsAddr: `https://127.0.0.1:${tlsPort}`,
    ca,
    strangers: { ca: join(elsewhere, "ca.crt"), ...strangersPair },
    redis,
    etcd: { url: etcdUrl, ...client },
    closed: `http://127.0.0.1:${closedPort}`,
    strange: `http://127.0.0.1:${(strange.address() as AddressInfo).port}`,
    tokens,
    site(name, { main = {}, registry = registryOf("prod"), redis: redisSettings, integrity, serves } = {}) {
      const home = join(dir, name);
      mkdirSync(home, { recursive: true });
      const file = join(home, "clusters.yaml");
      if (typeof registry === "string") writeFileSync(file, registry);
      const auth = { kind: "approle", roleIdFile: "/nowhere/role", secretIdFile: "/nowhere/secret" };
      const config = {
        listen: { address: "127.0.0.1", port: 0 },
        admin: { address: "127.0.0.1", port: 0 },
        tls: { cert: "/nowhere/c", key: "/nowhere/k", clientCa: "/nowhere/ca" },
        trustDomain: "fleet.example",
        registry: typeof registry === "string" ? { kind: "file", file } : registry,
        backends: { main: { kind: "vault", addresses: [bao.addr], auth, ...main } },
        audit: { sinks: [{ kind: "stdout" }] },
        ...(redisSettings && { redis: redisSettings }),
        ...(integrity && { integrity }),
        ...(serves && { serves }),
      };
      writeFileSync(join(home, "gateway.yaml"), JSON.stringify(config));
      return join(home, "gateway.yaml");
    },
    settingsOf: (config) => JSON.parse(readFileSync(config, "utf8")) as object,
    async run(args, env = { VAULT_TOKEN: root }) {
      const [out, err]: [string[], string[]] = [[], []];
      const status = await runCli(args, {
        out: (line) => void out.push(line),
        err: (line) => void err.push(line),
        env,
        home: join(dir, "home"),
      });
      return { status, out: out.join("\n"), err: err.join("\n") };
    },
    close: async () => await new Promise<void>((resolve) => strange.close(() => resolve())),
  };
  return world;
}

/** A configuration with two backends of the one Vault. */
export function twoVaults(world: World): string {
  const auth = { kind: "approle", roleIdFile: "/nowhere/role", secretIdFile: "/nowhere/secret" };
  const main = { kind: "vault", addresses: [world.bao.addr], auth };
  const file = join(world.dir, "two.yaml");
  writeFileSync(file, JSON.stringify({ ...world.settingsOf(world.site("two")), backends: { main, second: main } }));
  return file;
}
