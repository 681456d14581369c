// Tokens that live for seconds, renewed and replaced under load, with every way to log in: no
// request fails.
import assert from "node:assert/strict";
import { createSign, generateKeyPairSync } from "node:crypto";
import { mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { VaultConfig } from "@claviger/gateway-core/src/backend/config.ts";
import { openBackend } from "@claviger/gateway-core/src/backend/open.ts";
import { createCa, issueGateway, issueNode } from "@claviger/gateway-core/src/pki/authority.ts";
import { mountPath } from "@claviger/proto/wire/names.ts";
import { pino } from "pino";
import { failuresOf } from "../../lab/load.ts";
import { startApiServer, startEtcd } from "../../lab/kubernetes.ts";
import { type OpenBao, setUpTransit, startOpenBao } from "../../lab/openbao.ts";
import { createProcessGroup, freePorts, type ProcessGroup } from "../../lab/process-group.ts";
import { startBackendLoad } from "./load.ts";

const lives = { token_ttl: "5s", token_max_ttl: "15s", token_policies: ["claviger-gateway"] };
const isFull = process.env["CLAVIGER_TEST_FULL"] === "1";
/** Of each way, and all at once: in the full form they have the machine for themselves. */
const perSecond = isFull ? 200 : 50;
const runMs = isFull ? 120_000 : 20_000;
function base64url(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

suite(`token TTL 5 s, max TTL 15 s, ${perSecond} requests a second for ${runMs / 1000} s`, {
  concurrency: true,
}, () => {
  let dir: string;
  let processes: ProcessGroup;
  let bao: OpenBao;
  let secure: string;
  let approle: { readonly roleIdFile: string; readonly secretIdFile: string };

  const file = async (name: string, text: string): Promise<string> => {
    const path = join(dir, name);
    await writeFile(`${path}.new`, text, { mode: 0o600 });
    await rename(`${path}.new`, path);
    return path;
  };
  const newToken = async (life: object): Promise<string> => {
    const body = { policies: ["claviger-gateway"], no_parent: true, ...life };
    return (await bao.call<{ auth: { client_token: string } }>("POST", "auth/token/create", body)).auth.client_token;
  };
  const mount = (type: string): Promise<unknown> => bao.call("POST", `sys/auth/${type}`, { type });

  const serves = async (config: Omit<VaultConfig, "kind" | "addresses"> & { addresses?: string[] }): Promise<void> => {
    const logged: string[] = [];
    const log = pino({ level: "info" }, { write: (line: string) => void logged.push(line) });
    const backend = await openBackend({
      name: "main",
      config: { kind: "vault", addresses: [bao.addr], ...config },
      log,
    });
    const load = startBackendLoad(backend, { perSecond });
    try {
      await sleep(runMs);
    } finally {
      await load.stop();
      await backend.close();
    }
    const tally = load.take();
    const { ok, failed } = tally;
    const logins = logged.filter((line) => line.includes('"vault-login"')).length;
    console.log(
      `${config.auth.kind}${config.auth.kind === "approle" && config.auth.wrapped ? ", wrapped" : ""}: ${ok} requests, ${failuresOf(tally)} failed, ${logins} logins`,
    );
    assert.deepEqual([...failed], []);
    assert.ok(ok > ((runMs / 1000) * perSecond * 9) / 10, `${ok} requests`);
    if (config.auth.kind !== "token") assert.ok(logins >= 2, "the token was replaced under load");
  };

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    processes = createProcessGroup(dir);
    const ca = await createCa({ trustDomain: "fleet.example" });
    const server = await issueGateway({ ca, dnsNames: ["vault.example"] });
    const node = await issueNode({ ca, cluster: "prod", node: "gw" });
    const keyOf = (pair: typeof server): string => pair.key.use((pem) => pem);
    const paths = {
      cert: await file("server.crt", server.cert),
      key: await file("server.key", keyOf(server)),
    };
    await file("ca.crt", ca.cert);
    await file("node.crt", node.cert);
    await file("node.key", keyOf(node));
    const [port = 0, clusterPort = 0] = await freePorts(2);
    secure = `https://127.0.0.1:${port}`;
    bao = await startOpenBao(
      processes,
      dir,
      `listener "tcp" { address = "127.0.0.1:${port}"  cluster_address = "127.0.0.1:${clusterPort}"  tls_cert_file = "${paths.cert}"  tls_key_file = "${paths.key}" }`,
    );
    const files = (await setUpTransit(bao, ["one"], ["gw"], dir)).get("gw");
    assert.ok(files !== undefined);
    approle = files;
    await bao.call("POST", "auth/approle/role/claviger-gateway", lives);
  });
  after(async () => {
    await processes.stopAll();
    await rm(dir, { recursive: true });
  });

  test("a periodic token, renewed", async () => {
    await serves({ auth: { kind: "token", file: await file("periodic", await newToken({ period: "5s" })) } });
  });

  test("a token file that an agent rewrites", async () => {
    const path = await file("agent", await newToken({ ttl: "5s", explicit_max_ttl: "5s" }));
    const agent = setInterval(() => {
      void newToken({ ttl: "5s", explicit_max_ttl: "5s" }).then((token) => file("agent", token));
    }, 3000);
    try {
      await serves({ auth: { kind: "token-file", file: path } });
    } finally {
      clearInterval(agent);
    }
  });

  test("approle", () =>
    serves({ auth: { kind: "approle", mount: mountPath.parse("approle"), wrapped: false, ...approle } }));

  test("approle with a response-wrapped secret-id", async () => {
    const reply = await fetch(`${bao.addr}/v1/auth/approle/role/claviger-gateway/secret-id`, {
      method: "POST",
      headers: { "x-vault-token": await readFile(bao.tokenFile, "utf8"), "x-vault-wrap-ttl": "60s" },
    });
    const { wrap_info: wrapping } = (await reply.json()) as { wrap_info: { token: string } };
    const secretIdFile = await file("wrapped", wrapping.token);
    await serves({
      auth: {
        kind: "approle",
        mount: mountPath.parse("approle"),
        wrapped: true,
        roleIdFile: approle.roleIdFile,
        secretIdFile,
      },
    });
  });

  test("jwt, checked with a static public key", async () => {
    const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    await mount("jwt");
    await bao.call("POST", "auth/jwt/config", {
      jwt_validation_pubkeys: [publicKey.export({ type: "spki", format: "pem" })],
    });
    await bao.call("POST", "auth/jwt/role/gw", {
      role_type: "jwt",
      user_claim: "sub",
      bound_audiences: ["vault"],
      ...lives,
    });
    const now = Math.floor(Date.now() / 1000);
    const body = `${base64url({ alg: "RS256", typ: "JWT" })}.${base64url({ sub: "gw", aud: "vault", iat: now, nbf: now, exp: now + 600 })}`;
    const jwt = `${body}.${createSign("RSA-SHA256").update(body).sign(privateKey, "base64url")}`;
    await serves({ auth: { kind: "jwt", mount: mountPath.parse("jwt"), role: "gw", jwtFile: await file("jwt", jwt) } });
  });

  test("userpass", async () => {
    await mount("userpass");
    await bao.call("POST", "auth/userpass/users/gw", { password: "correct horse", ...lives });
    const passwordFile = await file("password", "correct horse\n");
    await serves({ auth: { kind: "userpass", mount: mountPath.parse("userpass"), username: "gw", passwordFile } });
  });

  test("a Kubernetes service account, reviewed by a real kube-apiserver", async () => {
    const etcd = await startEtcd(processes, dir);
    const api = await startApiServer({ processes, dir, name: "kube-apiserver", etcd });
    await api.waitReady();
    const accounts = "/api/v1/namespaces/default/serviceaccounts";
    const tokenOf = async (name: string, audience: readonly string[]): Promise<string> => {
      const metadata = { name };
      await api.call("POST", accounts, { apiVersion: "v1", kind: "ServiceAccount", metadata });
      const wanted = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: { audiences: audience } };
      return (await api.call<{ status: { token: string } }>("POST", `${accounts}/${name}/token`, wanted)).json.status
        .token;
    };
    const issuer = "https://kubernetes.default.svc";
    await mount("kubernetes");
    await bao.call("POST", "auth/kubernetes/config", {
      kubernetes_host: api.server,
      kubernetes_ca_cert: await readFile(api.caFile, "utf8"),
      token_reviewer_jwt: await tokenOf("reviewer", [issuer]),
    });
    const bound = {
      bound_service_account_names: ["gw"],
      bound_service_account_namespaces: ["default"],
      audience: issuer,
    };
    await bao.call("POST", "auth/kubernetes/role/gw", { ...bound, ...lives });
    const jwtFile = await file("kubernetes.jwt", await tokenOf("gw", [issuer]));
    await serves({ auth: { kind: "kubernetes", mount: mountPath.parse("kubernetes"), role: "gw", jwtFile } });
    await api.close();
  });

  test("a TLS certificate", async () => {
    await mount("cert");
    await bao.call("POST", "auth/cert/certs/gw", {
      certificate: await readFile(join(dir, "ca.crt"), "utf8"),
      ...lives,
    });
    await serves({
      addresses: [secure],
      tls: {
        ca: join(dir, "ca.crt"),
        serverName: "vault.example",
        cert: join(dir, "node.crt"),
        key: join(dir, "node.key"),
      },
      auth: { kind: "cert", mount: mountPath.parse("cert"), role: "gw" },
    });
  });
});
