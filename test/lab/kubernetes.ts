// Real etcd and real kube-apiservers of the lab's own, each apiserver encrypting its Secrets
// through one shim's socket.
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Agent, request } from "undici";
import { findBinary } from "../parts/find.ts";
import { kmsConfiguration } from "./encryption.ts";
import { freePorts, type ProcessGroup, type LabProcess, until } from "./process-group.ts";

export type Etcd = {
  readonly url: string;
  readonly proc: LabProcess;
  /** The raw bytes under a key, as they lie on the disk; undefined when there is none. */
  get(key: string): Promise<Buffer | undefined>;
  put(key: string, value: Uint8Array): Promise<void>;
};

/** @param through a command line that runs etcd's, which follows it */
export async function startEtcd(processes: ProcessGroup, dir: string, through: readonly string[] = []): Promise<Etcd> {
  const [port = 0, peerPort = 0] = await freePorts(2);
  const [url, peer] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${peerPort}`];
  const proc = processes.start("etcd", [
    ...through,
    findBinary("etcd"),
    `--data-dir=${join(dir, "etcd")}`,
    `--listen-client-urls=${url}`,
    `--advertise-client-urls=${url}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=default=${peer}`,
    "--unsafe-no-fsync",
    "--log-level=error",
  ]);
  await until("etcd to answer", proc, async () =>
    (await request(`${url}/health`).then(
      async (reply) => (await reply.body.text()).includes("true"),
      () => false,
    ))
      ? true
      : undefined,
  );
  const base64 = (bytes: Uint8Array | string): string => Buffer.from(bytes as Uint8Array).toString("base64");
  const call = async (path: string, body: unknown): Promise<unknown> => {
    const reply = await request(`${url}${path}`, { method: "POST", body: JSON.stringify(body) });
    const json = await reply.body.json();
    if (reply.statusCode !== 200)
      throw new Error(`etcd answered ${reply.statusCode} to ${path}: ${JSON.stringify(json)}`);
    return json;
  };
  return {
    url,
    proc,
    async get(key) {
      const { kvs } = (await call("/v3/kv/range", { key: base64(key) })) as { kvs?: { value: string }[] };
      return kvs?.[0] === undefined ? undefined : Buffer.from(kvs[0].value, "base64");
    },
    async put(key, value) {
      await call("/v3/kv/put", { key: base64(key), value: base64(value) });
    },
  };
}

type Secret = {
  readonly metadata: { readonly name: string; readonly resourceVersion: string };
  readonly data: Readonly<Record<string, string>>;
};

export type ApiServer = {
  readonly server: string;
  readonly tokenFile: string;
  readonly caFile: string;
  readonly socket: string;
  readonly proc: () => LabProcess;
  /** One call of the API as system:masters. Resolves whatever the status. */
  call<T = unknown>(
    method: string,
    path: string,
    body?: unknown,
  ): Promise<{ readonly status: number; readonly json: T }>;
  createSecret(name: string, value: Uint8Array): Promise<void>;
  /** The value that createSecret stored. @throws Error with the apiserver's message */
  readSecret(name: string): Promise<Buffer>;
  /** A no-op update, which rewrites what was stored under an older key. */
  touchSecret(name: string): Promise<void>;
  waitReady(ms?: number): Promise<void>;
  restart(): Promise<void>;
  close(): Promise<void>;
};

export type ApiServerOptions = {
  readonly processes: ProcessGroup;
  readonly dir: string;
  readonly name: string;
  readonly etcd: Pick<Etcd, "url">;
  /** The KMS plugin that encrypts its Secrets; none: they lie in the clear. */
  readonly socket?: string;
  readonly kms?: "v1" | "v2";
  /** Another EncryptionConfiguration than that for `socket`. */
  readonly encryption?: string | undefined;
  /** Who may do what; everybody everything where it is absent. */
  readonly authorization?: "AlwaysAllow" | "RBAC";
  readonly extraArgs?: readonly string[];
};

/** Starts one; it is not ready yet when this returns: see waitReady. */
export async function startApiServer({
  processes,
  dir,
  name,
  etcd,
  socket,
  kms = "v2",
  encryption = socket === undefined ? undefined : kmsConfiguration(socket, kms),
  authorization = "AlwaysAllow",
  extraArgs = [],
}: ApiServerOptions): Promise<ApiServer> {
  const [port = 0] = await freePorts(1);
  const home = join(dir, name);
  mkdirSync(join(home, "certs"), { recursive: true, mode: 0o700 });
  const file = (base: string, text: string): string => {
    writeFileSync(join(home, base), text, { mode: 0o600 });
    return join(home, base);
  };
  const token = randomBytes(16).toString("hex");
  const keys = generateKeyPairSync("rsa", {
    modulusLength: 2048,
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  const saKey = file("sa.key", keys.privateKey);
  const tokenFile = file("token", token);
  const argv = [
    findBinary("kube-apiserver"),
    `--etcd-servers=${etcd.url}`,
    "--bind-address=127.0.0.1",
    `--secure-port=${port}`,
    "--advertise-address=127.0.0.1",
    `--cert-dir=${join(home, "certs")}`,
    "--service-account-issuer=https://kubernetes.default.svc",
    `--service-account-key-file=${file("sa.pub", keys.publicKey)}`,
    `--service-account-signing-key-file=${saKey}`,
    "--service-cluster-ip-range=10.0.0.0/24",
    `--token-auth-file=${file("tokens.csv", `${token},admin,1,"system:masters"\n`)}`,
    `--authorization-mode=${authorization}`,
    "--disable-admission-plugins=ServiceAccount",
    "--endpoint-reconciler-type=none",
    ...(encryption === undefined ? [] : [`--encryption-provider-config=${file("encryption.yaml", encryption)}`]),
    ...(kms === "v1" ? ["--feature-gates=KMSv1=true"] : []),
    ...extraArgs,
  ];
  let proc = processes.start(name, argv);
  const server = `https://127.0.0.1:${port}`;
  // The apiserver signs its own certificate for itself at its first start; loopback only.
  const agent = new Agent({ allowH2: false, connect: { rejectUnauthorized: false } });

  const call = async <T>(
    method: string,
    path: string,
    body?: unknown,
  ): Promise<{ readonly status: number; readonly json: T }> => {
    const reply = await request(`${server}${path}`, {
      method: method as "GET",
      dispatcher: agent,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await reply.body.text();
    return { status: reply.statusCode, json: (text.startsWith("{") ? JSON.parse(text) : text) as T };
  };
  const expect = async <T>(status: number, method: string, path: string, body?: unknown): Promise<T> => {
    const answer = await call<T>(method, path, body);
    if (answer.status !== status)
      throw new Error(`kube-apiserver answered ${answer.status} to ${method} ${path}: ${JSON.stringify(answer.json)}`);
    return answer.json;
  };
  const secrets = "/api/v1/namespaces/default/secrets";
  const waitReady = async (ms = 60_000): Promise<void> => {
    await until(
      `${name} to be ready`,
      proc,
      async () => ((await call("GET", "/readyz").catch(() => undefined))?.status === 200 ? true : undefined),
      ms,
    );
    await until(
      "the default namespace",
      proc,
      async () =>
        (await call("GET", "/api/v1/namespaces/default").catch(() => undefined))?.status === 200 ? true : undefined,
      ms,
    );
  };
  return {
    server,
    tokenFile,
    caFile: join(home, "certs", "apiserver.crt"),
    socket: socket ?? "",
    proc: () => proc,
    call,
    async createSecret(secret, value) {
      const body = {
        apiVersion: "v1",
        kind: "Secret",
        metadata: { name: secret },
        data: { value: Buffer.from(value).toString("base64") },
      };
      await expect(201, "POST", secrets, body);
    },
    async readSecret(secret) {
      const { data } = await expect<Secret>(200, "GET", `${secrets}/${secret}`);
      return Buffer.from(data["value"] ?? "", "base64");
    },
    async touchSecret(secret) {
      await expect(200, "PUT", `${secrets}/${secret}`, await expect<Secret>(200, "GET", `${secrets}/${secret}`));
    },
    waitReady,
    async restart() {
      proc = await processes.restart(proc, 20_000);
      await waitReady();
    },
    async close() {
      await agent.destroy();
    },
  };
}

/** Where etcd keeps a Secret of the default namespace. */
export function secretPath(name: string): string {
  return `/registry/secrets/default/${name}`;
}

/** The token that a tokenFile holds. */
export function readToken(file: string): string {
  return readFileSync(file, "utf8");
}
