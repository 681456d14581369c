// Logins by TLS certificate and by Kubernetes service account, on a real OpenBao with a TLS
// listener and a stand-in for TokenReview.
import assert from "node:assert/strict";
import { createSign, generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import type { VaultConfig } from "@claviger/gateway-core/src/backend/config.ts";
import { openBackend } from "@claviger/gateway-core/src/backend/open.ts";
import type { OpenBackend } from "@claviger/gateway-core/src/backend/port.ts";
import { createCa, issueGateway, issueNode } from "@claviger/gateway-core/src/pki/authority.ts";
import { wantedRole } from "@claviger/cli/src/vault/roles.ts";
import { mountPath } from "@claviger/proto/wire/names.ts";
import { request } from "undici";
import { gatewayPolicy } from "../../lab/openbao.ts";
import { createProcessGroup, freePorts, type ProcessGroup, until } from "../../lab/process-group.ts";
import { findBinary } from "../../parts/find.ts";
import { silent } from "../../unit/gateway/fakes.ts";
import { keepAsking, roundTrip } from "./world.ts";

const lives = { token_ttl: "3s", token_max_ttl: "7s", token_policies: ["claviger-gateway"] };
function text(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

suite("machine logins", { concurrency: true }, () => {
  let dir: string;
  let processes: ProcessGroup;
  let review: Server;
  let plain: string;
  let secure: string;
  const opened: OpenBackend[] = [];
  const file = (name: string): string => join(dir, name);

  const call = async (method: "POST" | "PUT", path: string, body: unknown): Promise<void> => {
    const reply = await request(`${plain}/v1/${path}`, {
      method,
      headers: { "content-type": "application/json", "x-vault-token": "root" },
      body: JSON.stringify(body),
    });
    const answer = await reply.body.text();
    assert.ok(reply.statusCode < 300, `${path}: ${reply.statusCode} ${answer}`);
  };
  const open = async (config: Omit<VaultConfig, "kind">): Promise<OpenBackend> => {
    const backend = await openBackend({ name: "main", config: { kind: "vault", ...config }, log: silent });
    opened.push(backend);
    return backend;
  };

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    processes = createProcessGroup(dir);
    const ca = await createCa({ trustDomain: "fleet.example" });
    const server = await issueGateway({ ca, dnsNames: ["vault.example"] });
    const node = await issueNode({ ca, cluster: "prod", node: "gw" });
    const other = await issueNode({ ca, cluster: "prod", node: "cp-1" });
    const stranger = await createCa({ trustDomain: "elsewhere.example" });
    const foreign = await issueNode({ ca: stranger, cluster: "prod", node: "gw" });
    const files = {
      "ca.crt": ca.cert,
      "server.crt": server.cert,
      "server.key": server.key,
      "node.crt": node.cert,
      "node.key": node.key,
      "other.crt": other.cert,
      "other.key": other.key,
      "changing.crt": foreign.cert,
      "changing.key": foreign.key,
    };
    for (const [name, content] of Object.entries(files))
      await writeFile(file(name), typeof content === "string" ? content : content.use((key) => key), { mode: 0o600 });
    const [port = 0, tlsPort = 0] = await freePorts(2);
    plain = `http://127.0.0.1:${port}`;
    secure = `https://127.0.0.1:${tlsPort}`;
    await writeFile(
      file("tls.hcl"),
      `listener "tcp" { address = "127.0.0.1:${tlsPort}"  tls_cert_file = "${file("server.crt")}"  tls_key_file = "${file("server.key")}" }\n`,
    );
    const flags = ["-dev", "-dev-no-store-token", "-dev-root-token-id=root", `-dev-listen-address=127.0.0.1:${port}`];
    const proc = processes.start("openbao", [findBinary("bao"), "server", ...flags, `-config=${file("tls.hcl")}`]);
    await until("OpenBao to be active", proc, async () =>
      (await request(`${plain}/v1/sys/health`).catch(() => undefined))?.statusCode === 200 ? true : undefined,
    );
    await call("POST", "sys/mounts/transit", { type: "transit" });
    await call("POST", "transit/keys/one", {});
    await call("PUT", "sys/policies/acl/claviger-gateway", { policy: gatewayPolicy(["one"]) });
    await call("POST", "sys/auth/cert", { type: "cert" });
    await call("POST", "auth/cert/certs/gw", { certificate: ca.cert, ...lives });
  });
  after(async () => {
    await Promise.all(opened.map((backend) => backend.close()));
    review?.close();
    await processes.stopAll();
    await rm(dir, { recursive: true });
  });

  const cert = (name: string): Omit<VaultConfig, "kind"> => ({
    addresses: [secure],
    tls: { ca: file("ca.crt"), serverName: "vault.example", cert: file(`${name}.crt`), key: file(`${name}.key`) },
    auth: { kind: "cert", mount: mountPath.parse("cert"), role: "gw" },
  });

  test("a TLS certificate, over max TTLs", async () => {
    const { asked, failed } = await keepAsking(await open(cert("node")), 9000, 30);
    assert.ok(asked > 50);
    assert.deepEqual(failed, []);
  });

  test("the role that vault init makes knows gateways by name: a node's certificate of the same CA is no login", async () => {
    const options = {
      policy: "claviger-gateway",
      role: "named",
      tokenTtl: 60,
      tokenMaxTtl: 600,
      serviceAccount: "",
      serviceAccountNamespace: "",
      clientCa: await readFile(file("ca.crt"), "utf8"),
    };
    const [unnamed] = wantedRole("cert", "cert", options);
    assert.deepEqual(unnamed?.needs, ["--allowed-dns-san or --allowed-uri-san"]);
    const uri = "spiffe://fleet.example/cluster/prod/node/gw";
    for (const wanted of wantedRole("cert", "cert", { ...options, allowedUriSans: [uri] }))
      await call("POST", wanted.path, wanted.body);
    const named = (name: string): Omit<VaultConfig, "kind"> => ({
      ...cert(name),
      auth: { kind: "cert", mount: mountPath.parse("cert"), role: "named" },
    });
    await roundTrip(await open(named("node")));
    await assert.rejects(roundTrip(await open(named("other"))), { reason: "backend_login_refused" });
  });

  test("a certificate that is replaced on disk is shown at the next login", async () => {
    const backend = await open(cert("changing"));
    await assert.rejects(roundTrip(backend));
    for (const kind of ["crt", "key"]) await copyFile(file(`node.${kind}`), file(`changing.${kind}`));
    await until("the new certificate to be used", undefined, () =>
      roundTrip(backend).then(
        () => true as const,
        () => undefined,
      ),
    );
  });

  test("a server that the CA does not vouch for, or of another name, is not spoken to", async () => {
    const auth = { kind: "cert", mount: mountPath.parse("cert"), role: "gw" } as const;
    const { tls, ...rest } = cert("node");
    for (const wrong of [
      { ...tls, serverName: "other.example" },
      { cert: file("node.crt"), key: file("node.key") },
    ])
      await assert.rejects(roundTrip(await open({ ...rest, auth, tls: wrong })), { reason: "backend_unavailable" });
  });

  test("a TLS file that is missing or holds no certificate is a configuration error that names it", async () => {
    await writeFile(file("junk.crt"), "junk");
    const { tls, ...rest } = cert("node");
    await assert.rejects(open({ ...rest, tls: { ...tls, ca: file("absent.crt") } }), /absent\.crt/);
    await assert.rejects(open({ ...rest, tls: { ...tls, cert: file("junk.crt") } }), /tls/);
  });

  test("a Kubernetes service account token", async () => {
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const now = Math.floor(Date.now() / 1000);
    const account = { namespace: "claviger", serviceaccount: { name: "gateway", uid: "u1" } };
    const claims = {
      iss: "https://kubernetes",
      sub: "system:serviceaccount:claviger:gateway",
      iat: now,
      exp: now + 60,
    };
    const body = `${text({ alg: "RS256" })}.${text({ ...claims, "kubernetes.io": account })}`;
    const jwt = `${body}.${createSign("RSA-SHA256").update(body).sign(privateKey, "base64url")}`;
    review = createServer((_request, response) => {
      const user = { username: claims.sub, uid: "u1", groups: ["system:serviceaccounts"] };
      response.writeHead(201, { "content-type": "application/json" });
      response.end(
        JSON.stringify({
          apiVersion: "authentication.k8s.io/v1",
          kind: "TokenReview",
          status: { authenticated: true, user, audiences: [] },
        }),
      );
    });
    review.listen(0, "127.0.0.1");
    await once(review, "listening");
    await writeFile(file("jwt"), jwt, { mode: 0o600 });
    await call("POST", "sys/auth/kubernetes", { type: "kubernetes" });
    await call("POST", "auth/kubernetes/config", {
      kubernetes_host: `http://127.0.0.1:${(review.address() as AddressInfo).port}`,
      // Spoken to over plain HTTP here; it wants one all the same.
      kubernetes_ca_cert: await readFile(file("ca.crt"), "utf8"),
      disable_local_ca_jwt: true,
    });
    const bound = { bound_service_account_names: "gateway", bound_service_account_namespaces: "claviger" };
    await call("POST", "auth/kubernetes/role/gw", { ...bound, ...lives });
    const auth = {
      kind: "kubernetes",
      mount: mountPath.parse("kubernetes"),
      role: "gw",
      jwtFile: file("jwt"),
    } as const;
    const { asked, failed } = await keepAsking(await open({ addresses: [plain], auth }), 9000, 30);
    assert.ok(asked > 50);
    assert.deepEqual(failed, []);
  });
});
