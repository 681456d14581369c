import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { Client, credentials } from "@grpc/grpc-js";
import { fromBinary } from "@bufbuild/protobuf";
import { StatusResponseSchema } from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { methods } from "@claviger/proto/wire/protocol.ts";
import { issueNode } from "@claviger/gateway-core/src/pki/authority.ts";
import { createLeaf, type Pem, pemOf } from "../certificates.ts";
import { runProgram } from "../program.ts";
import { createFleet, startGateway, statusBytes } from "./fakes.ts";

const main = join(import.meta.dirname, "..", "..", "..", "shim", "src", "main.ts");
const fleet = await createFleet();

/** A folder with a shim's configuration for the given gateways. */
function site(t: TestContext, ...gateways: readonly string[]) {
  const dir = mkdtempSync(join(tmpdir(), "claviger-shim-"));
  t.after(() => rmSync(dir, { recursive: true }));
  for (const name of ["cert", "key", "ca"] as const) writeFileSync(join(dir, name), fleet.tls[name]);
  const socket = join(dir, "kms.sock");
  const config = join(dir, "shim.yaml");
  const tls = { cert: join(dir, "cert"), key: join(dir, "key"), ca: join(dir, "ca") };
  writeFileSync(config, JSON.stringify({ socket: { path: socket }, gateways, tls, health: { port: 0 } }));
  return { dir, socket, config };
}

const run = (t: TestContext, ...args: readonly string[]) => runProgram(t, main, ...args);

function statusOf(socket: string): Promise<{ readonly keyId: string; readonly healthz: string }> {
  return new Promise((resolve, reject) => {
    const client = new Client(`unix:${socket}`, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 });
    const same = (bytes: Buffer): Buffer => bytes;
    client.makeUnaryRequest(
      methods.status,
      same,
      same,
      Buffer.alloc(0),
      { deadline: Date.now() + 3000 },
      (error, response) => {
        client.close();
        if (error !== null || response === undefined) reject(error ?? new Error("no response"));
        else resolve(fromBinary(StatusResponseSchema, response));
      },
    );
  });
}

test("a shim serves its socket, takes no new certificate that is bad, and leaves nothing but its state when it stops", async (t) => {
  const gateway = await startGateway(t, fleet, () => ({ body: statusBytes("key-1") }));
  const { dir, socket, config } = site(t, gateway.url);
  const shim = await run(t, "--config", config);
  const ready = await shim.event("ready");
  assert.equal(ready["socket"], socket);
  assert.equal((await statusOf(socket)).keyId, "key-1");
  assert.equal(statSync(`${socket}.state`).mode & 0o777, 0o600);
  for (const [path, code] of [
    ["/livez", 200],
    ["/readyz", 200],
    ["/metrics", 200],
  ] as const)
    assert.equal((await fetch(`${String(ready["health"])}${path}`)).status, code, path);

  const rejected = shim.event("files-rejected");
  writeFileSync(join(dir, "cert"), "no certificate");
  await rejected;
  assert.equal((await statusOf(socket)).keyId, "key-1");
  const reloaded = shim.event("files-reloaded");
  writeFileSync(join(dir, "cert"), fleet.tls.cert);
  await reloaded;
  assert.equal((await statusOf(socket)).keyId, "key-1");

  shim.child.kill("SIGTERM");
  assert.equal(await shim.exited, 0);
  assert.deepEqual(
    readdirSync(dir).filter((name) => name.includes("sock") || name.startsWith(".")),
    ["kms.sock.state"],
  );
});

test("with its gateway away a shim is there, answers, and goes on after SIGKILL with the key_id that it had", async (t) => {
  const gateway = await startGateway(t, fleet, () => ({ body: statusBytes("key-1") }));
  const { socket, config } = site(t, gateway.url);
  const first = await run(t, "--config", config);
  await first.event("ready");
  await statusOf(socket);
  await gateway.stop();
  first.child.kill("SIGKILL");
  await first.exited;
  assert.ok(existsSync(`${socket}.state`));
  const second = await run(t, "--config", config);
  await second.event("ready");
  const { keyId, healthz } = await statusOf(socket);
  assert.deepEqual({ keyId, healthz }, { keyId: "key-1", healthz: "ok" });

  const third = await run(t, "--config", config);
  assert.equal(await third.exited, 2, "a live socket is refused");
  assert.match(third.lines.join("\n"), /served by another process/);
  assert.equal((await statusOf(socket)).keyId, "key-1");
});

test("every problem of a configuration is named at once, and exit is not 0", async (t) => {
  const { dir, config } = site(t);
  writeFileSync(
    config,
    JSON.stringify({ socket: { path: "@kms", mode: "9" }, gateways: ["http://gw"], tls: {}, colour: "red" }),
  );
  const shim = await run(t, "--config", config, "--health-port", "70000");
  assert.equal(await shim.exited, 2);
  const text = shim.lines.join("\n");
  for (const part of ["socket.path", "socket.mode", "gateways.0", "tls.cert", "health.port", "colour"])
    assert.ok(text.includes(part), part);
  assert.deepEqual(readdirSync(dir).toSorted(), ["ca", "cert", "key", "shim.yaml"]);
});

test("a socket path of 108 bytes is refused", async (t) => {
  const { config } = site(t, "https://127.0.0.1:1");
  const shim = await run(t, "--config", config, "--socket", `/tmp/${"s".repeat(103)}`);
  assert.equal(await shim.exited, 2);
  assert.match(shim.lines.join("\n"), /socket\.path: must be at most 107 bytes/);
});

test("a takeover under calls loses none of them", async (t) => {
  const gateway = await startGateway(t, fleet, () => ({ body: statusBytes("key-1") }));
  const { socket, config } = site(t, gateway.url);
  const old = await run(t, "--config", config);
  await old.event("ready");
  const client = new Client(`unix:${socket}`, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 });
  t.after(() => client.close());
  const same = (bytes: Buffer): Buffer => bytes;
  const failures: string[] = [];
  let calls = 0;
  let isOver = false;
  const load = async (): Promise<void> => {
    while (!isOver) {
      await new Promise<void>((resolve) => {
        client.makeUnaryRequest(
          methods.status,
          same,
          same,
          Buffer.alloc(0),
          { deadline: Date.now() + 3000 },
          (error) => {
            if (error !== null) failures.push(error.message);
            calls += 1;
            setTimeout(resolve, 10);
          },
        );
      });
    }
  };
  const loads = [load(), load()];
  const next = await run(t, "--config", config, "--takeover");
  await next.event("ready");
  old.child.kill("SIGTERM");
  assert.equal(await old.exited, 0);
  const before = calls;
  while (calls < before + 20) await new Promise((resolve) => setTimeout(resolve, 10));
  isOver = true;
  await Promise.all(loads);
  assert.deepEqual(failures, []);
  assert.equal((await statusOf(socket)).keyId, "key-1");
});

test("a pair of another identity is refused at a reload, and so is one that does not fit; the one in use stays", async (t) => {
  const gateway = await startGateway(t, fleet, () => ({ body: statusBytes("key-1") }));
  const { dir, socket, config } = site(t, gateway.url);
  const shim = await run(t, "--config", config);
  const ready = await shim.event("ready");
  const swap = async ({ cert, key }: Pem, what: RegExp): Promise<void> => {
    const rejected = shim.event("files-rejected");
    writeFileSync(join(dir, "cert"), cert);
    writeFileSync(join(dir, "key"), key);
    const { err } = await rejected;
    assert.match(String(err), what);
    assert.equal((await statusOf(socket)).keyId, "key-1");
  };
  const pairOf = async (cluster: string, node: string) => pemOf(await issueNode({ ca: fleet.ca, cluster, node }));
  const other = await pairOf("other", "cp-1");
  await swap(
    other,
    /is of URI:spiffe:\/\/fleet\.test\/cluster\/other\/node\/cp-1, and in use is that of URI:spiffe:\/\/fleet\.test\/cluster\/prod\/node\/cp-1/,
  );
  await swap(await pairOf("prod", "cp-2"), /cluster\/prod\/node\/cp-2, and in use .*cluster\/prod\/node\/cp-1/);
  await swap({ cert: fleet.tls.cert, key: other.key }, /tls\.key: .* does not belong to the certificate/);
  await swap(fleet.server, /is not a client certificate/);
  const reloaded = shim.event("files-reloaded");
  const renewed = await pairOf("prod", "cp-1");
  writeFileSync(join(dir, "cert"), renewed.cert);
  writeFileSync(join(dir, "key"), renewed.key);
  await reloaded;
  assert.equal((await statusOf(socket)).keyId, "key-1");
  const readiness = (await (await fetch(`${String(ready["health"])}/readyz`)).json()) as Record<string, unknown>;
  assert.deepEqual(readiness["certificates"], { client: "ok", gateway_ca: "ok" });
  assert.deepEqual(readiness["gateways"], { [gateway.url]: "ok" });
  const page = await (await fetch(`${String(ready["health"])}/metrics`)).text();
  assert.match(page, /claviger_shim_certificate_seconds_left\{role="client"[^}]*\} 77\d{5}/);
});

test("a shim with a certificate that has expired starts, for its grace period, and says so; --check fails", async (t) => {
  const gateway = await startGateway(t, fleet, () => ({ body: statusBytes("key-1") }));
  const { dir, config } = site(t, gateway.url);
  const expired = await createLeaf({ issuer: fleet.ca, use: "client", notAfter: Date.now() - 3_600_000 });
  writeFileSync(join(dir, "cert"), expired.cert);
  writeFileSync(join(dir, "key"), expired.key);
  const checked = await run(t, "--config", config, "--check");
  assert.equal(await checked.exited, 1);
  assert.match(checked.lines.join("\n"), /^certificate client +failed .*node\/cp-1.*; expired at/m);
  assert.match(
    checked.lines.join("\n"),
    /^gateway https:\S+ +failed .*refuses this shim's certificate: certificate_expired/m,
  );
  const shim = await run(t, "--config", config);
  const [invalid, down, ready] = await Promise.all(["certificate-invalid", "gateway-down", "ready"].map(shim.event));
  assert.match(String(invalid?.["what"]), /^expired at/);
  assert.match(String(down?.["err"]), /the gateway refuses this shim's certificate: certificate_expired/);
  const readiness = (await (await fetch(`${String(ready?.["health"])}/readyz`)).json()) as {
    readonly certificates: Readonly<Record<string, string>>;
    readonly gateways: Readonly<Record<string, string>>;
  };
  assert.match(readiness.certificates["client"] ?? "", /^expired at/);
  assert.match(readiness.gateways[gateway.url] ?? "", /certificate_expired/);
});

test("a certificate that names no node cannot work, and the start says so in one line", async (t) => {
  const { dir, config } = site(t, "https://127.0.0.1:1");
  const stranger = await createLeaf({ issuer: fleet.ca, use: "client", uri: "spiffe://fleet.test/gateway" });
  writeFileSync(join(dir, "cert"), stranger.cert);
  writeFileSync(join(dir, "key"), stranger.key);
  const shim = await run(t, "--config", config);
  assert.equal(await shim.exited, 2);
  assert.match(shim.lines.join("\n"), /tls\.cert: .* names no node; it needs the URI name spiffe:/);
});
