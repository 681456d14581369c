// The gateway's PEM files: those of its listener, and those that it shows to and trusts of a Vault.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import type { BackendConfig } from "@claviger/gateway-core/src/backend/config.ts";
import { openBackend } from "@claviger/gateway-core/src/backend/open.ts";
import { createVaultTransport } from "@claviger/gateway-core/src/backend/vault/transport.ts";
import { readTlsFiles } from "@claviger/gateway-core/src/tls-files.ts";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { createAuthority, createLeaf, type Pem } from "../../certificates.ts";
import { silent } from "../fakes.ts";
import { problemsOf } from "../problems.ts";

const hour = 3_600_000;
const root = await createAuthority("root");
const intermediate = await createAuthority("intermediate", root);
const server = await createLeaf({ issuer: intermediate, use: "server", ips: ["127.0.0.1"] });
const client = await createLeaf({ issuer: intermediate, use: "client" });

function folder(t: TestContext) {
  const dir = mkdtempSync(join(tmpdir(), "claviger-tls-"));
  t.after(() => rmSync(dir, { recursive: true }));
  return (name: string, text: string): string => {
    writeFileSync(join(dir, name), text);
    return join(dir, name);
  };
}

/** Each of these is refused at a start, by --check and at a reload; FILE is the file's name. */
const unusable: readonly (readonly [string, "cert" | "key" | "ca", string, RegExp])[] = [
  ["an empty CA bundle", "ca", "", /FILE holds no certificate \(PEM\)$/],
  ["a CA bundle of comments", "ca", "# no CA yet\n", /FILE holds no certificate \(PEM\)$/],
  ["a CA bundle with a key in it", "ca", server.key, /FILE holds no certificate \(PEM\)$/],
  [
    "a CA bundle that is cut off",
    "ca",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    /FILE holds a certificate that does not parse$/,
  ],
  ["an empty certificate", "cert", "", /FILE holds no certificate \(PEM\)$/],
  ["an empty key", "key", "", /FILE is not usable: it is no private key/],
  ["a key of another pair", "key", root.key.use((text) => text), /FILE does not belong to the certificate$/],
];

test("the files of the listener are refused when they are empty, broken or do not fit, each with one line", (t) => {
  const put = folder(t);
  for (const [what, setting, text, pattern] of unusable) {
    const files = { cert: put("cert", server.cert), key: put("key", server.key), clientCa: put("ca", root.cert) };
    const file = put(setting, text);
    const problems = problemsOf(() => readTlsFiles(files));
    assert.equal(problems.length, 1, what);
    assert.match(problems[0]?.replace(file, "FILE") ?? "", pattern, what);
  }
  const files = { cert: put("cert", client.cert), key: put("key", client.key), clientCa: put("ca", root.cert) };
  assert.match(problemsOf(() => readTlsFiles(files)).join(), /is not a server certificate: its extended key usage/);
  const good = { cert: put("cert", server.cert), key: put("key", server.key), clientCa: put("ca", root.cert) };
  assert.deepEqual(readTlsFiles(good), { ...server, clientCa: root.cert });
});

test("the files of a Vault are refused in the same way, and the backend is named", async (t) => {
  const put = folder(t);
  for (const [what, setting, text, pattern] of unusable) {
    const tls = { ca: put("ca", root.cert), cert: put("cert", client.cert), key: put("key", client.key) };
    const file = put(setting, text);
    const config: BackendConfig = {
      kind: "vault",
      addresses: ["https://127.0.0.1:1"],
      tls,
      auth: { kind: "token", file: put("token", "t") },
    };
    await assert.rejects(openBackend({ name: "main", config, log: silent }), (error) => {
      assert.ok(error instanceof ConfigError);
      assert.match(error.message, /^backends\.main: tls\./);
      assert.match(error.problems[0]?.replace(file, "FILE") ?? "", pattern, what);
      return true;
    });
  }
});

async function startVault(t: TestContext, pair: Pem) {
  const vault = createServer({ ...pair }, (_request, response) => response.end('{"data":{}}'));
  await new Promise<void>((resolve) => {
    vault.listen(0, "127.0.0.1", resolve);
  });
  t.after(() => {
    vault.close();
    vault.closeAllConnections();
  });
  return `https://127.0.0.1:${(vault.address() as AddressInfo).port}`;
}

test("a Vault is verified against an intermediate as against a root, and a failure has a name", async (t) => {
  const put = folder(t);
  const ask = async (url: string, ca: string, serverName?: string): Promise<string> => {
    const tls = { ca: put("ca", ca), ...(serverName !== undefined && { serverName }) };
    const transport = createVaultTransport({ addresses: [url], tls });
    try {
      const signal = AbortSignal.timeout(5000);
      const { status } = await transport.send({ method: "GET", path: "/v1/x", headers: {}, signal });
      return String(status);
    } catch (error) {
      assert.ok(error instanceof KmsError && error.cause instanceof Error);
      assert.equal(error.reason, "backend_unavailable");
      return error.cause.message;
    } finally {
      await transport.close();
    }
  };
  const url = await startVault(t, server);
  assert.equal(await ask(url, intermediate.cert), "200");
  assert.match(await ask(url, root.cert), /: unknown_ca, /);
  assert.match(await ask(url, intermediate.cert, "vault.test"), /: wrong_name, /);
  const old = { issuer: intermediate, use: "server", ips: ["127.0.0.1"], notAfter: Date.now() - hour } as const;
  assert.match(await ask(await startVault(t, await createLeaf(old)), intermediate.cert), /: certificate_expired, /);
});
