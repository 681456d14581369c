// The gateway as a process: its certificates at --check, at the start and at a reload.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { createAuthority, createLeaf, type Pem } from "../../certificates.ts";
import { runProgram } from "../../program.ts";

const main = join(import.meta.dirname, "..", "..", "..", "..", "gateway", "server", "src", "main.ts");
const root = await createAuthority("root");
const leaf = (change: Partial<Parameters<typeof createLeaf>[0]> = {}) =>
  createLeaf({
    issuer: root,
    use: "server",
    uri: "spiffe://fleet.test/gateway",
    dns: ["gateway.test"],
    notAfter: Date.now() + 24 * 3_600_000,
    ...change,
  });

function site(t: TestContext, pair: Pem, settings: object = {}) {
  const dir = mkdtempSync(join(tmpdir(), "claviger-gateway-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const put = (name: string, text: string): string => {
    writeFileSync(join(dir, name), text);
    return join(dir, name);
  };
  const config = put(
    "gateway.yaml",
    JSON.stringify({
      listen: { port: 0 },
      admin: { port: 0 },
      tls: { cert: put("cert", pair.cert), key: put("key", pair.key), clientCa: put("ca", root.cert) },
      trustDomain: "fleet.test",
      registry: { kind: "file", file: put("clusters.yaml", "clusters: []\n") },
      backends: { main: { kind: "embedded", file: join(dir, "keys.json") } },
      audit: { sinks: [{ kind: "file", path: join(dir, "audit.jsonl") }] },
      ...settings,
    }),
  );
  return { put, run: (...args: readonly string[]) => runProgram(t, main, "--config", config, ...args) };
}

test("--check says of each certificate whose it is, who signed it and how long it is valid, and fails for one that has expired", async (t) => {
  const good = await site(t, await leaf()).run("--check");
  assert.equal(await good.exited, 0);
  const table = good.lines.join("\n");
  assert.match(
    table,
    /^certificate server +ok +URI:spiffe:\/\/fleet\.test\/gateway, DNS:gateway\.test; signed by root; valid for 23 h\n/m,
  );
  assert.match(table, /^certificate client_ca +warning +root; expires in \d+ min, at .*\n +what to do: renew it/m);
  const bad = await site(t, await leaf({ notAfter: Date.now() - 1000 })).run("--check");
  assert.equal(await bad.exited, 1);
  assert.match(bad.lines.join("\n"), /^certificate server +failed .*; expired at/m);
  const { put, run } = site(t, await leaf());
  put("ca", "");
  const empty = await run("--check");
  assert.equal(await empty.exited, 1);
  assert.match(empty.lines.join("\n"), /^tls +failed +clientCa: .* holds no certificate \(PEM\)$/m);
});

test("a pair of another identity, or one that does not fit, is refused at a reload; /readyz and the metrics name each", async (t) => {
  const { put, run } = site(t, await leaf());
  const gateway = await run();
  const [expiring, ready] = await Promise.all(["certificate-expiring", "ready"].map(gateway.event));
  assert.equal(expiring?.["role"], "client_ca");
  const swap = async (pair: Pem, what: RegExp): Promise<void> => {
    const rejected = gateway.event("files-rejected");
    put("cert", pair.cert);
    put("key", pair.key);
    assert.match(String((await rejected)["err"]), what);
  };
  await swap(
    await leaf({ uri: "spiffe://fleet.test/cluster/prod/node/cp-1" }),
    /is of URI:spiffe:\/\/fleet\.test\/cluster\/prod\/node\/cp-1.*, and in use is that of URI:spiffe:\/\/fleet\.test\/gateway/,
  );
  await swap({ ...(await leaf()), key: (await leaf()).key }, /key: .* does not belong to the certificate/);
  const reloaded = gateway.event("files-reloaded");
  const renewed = await leaf({ notAfter: Date.now() + 48 * 3_600_000 });
  put("cert", renewed.cert);
  put("key", renewed.key);
  await reloaded;
  const admin = String(ready?.["admin"]);
  const { checks } = (await (await fetch(`${admin}/readyz`)).json()) as { readonly checks: Record<string, string> };
  assert.equal(checks["certificate/server"], "ok");
  assert.match(checks["certificate/client_ca"] ?? "", /^expires in \d+ min/);
  const page = await (await fetch(`${admin}/metrics`)).text();
  assert.match(page, /claviger_gateway_certificate_seconds_left\{role="server"[^}]*\} 172\d{3}/);
});

test("what a start cannot work with is one line and status 2, and no stack", async (t) => {
  const taken = createServer();
  await new Promise<void>((resolve) => void taken.listen(0, "127.0.0.1", resolve));
  t.after(() => taken.close());
  const { port } = taken.address() as AddressInfo;
  const redis = {
    kind: "standalone",
    node: "127.0.0.1:1",
    passwordFile: "/nowhere/password",
    tls: { ca: "/dev/null" },
  };
  const integrity = { backend: "main", mount: "transit", key: "integrity", version: 1 };
  const cases: readonly (readonly [object, readonly string[], RegExp])[] = [
    [{ redis, integrity }, [], /redis\.passwordFile: \/nowhere\/password cannot be read \(ENOENT\)/],
    [{ redis, integrity }, [], /redis\.tls\.ca: \/dev\/null is empty/],
    [{ listen: { port } }, [], /EADDRINUSE.*127\.0\.0\.1/],
    [{ admin: { port } }, [], /EADDRINUSE/],
    [{ listen: { address: "192.0.2.1", port: 1 } }, [], /EADDRNOTAVAIL/],
    [{}, ["--nonsense"], /Unknown option '--nonsense'/],
  ];
  for (const [settings, args, says] of cases) {
    const gateway = await site(t, await leaf(), settings).run(...args);
    assert.equal(await gateway.exited, 2);
    const text = gateway.lines.filter((line) => !line.startsWith("{")).join("\n");
    assert.match(text, says);
    assert.doesNotMatch(text, /^\s+at /m);
  }
});
