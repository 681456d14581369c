// A gateway that may open few files, and more connections than that.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { connect as tlsConnect } from "node:tls";
import { request } from "undici";
import { kmsClient } from "../../lab/kms.ts";
import { startLab } from "../../lab/lab.ts";
import { logOf, until } from "../../lab/process-group.ts";

const openFiles = 256;
const nodes = 10;
const perNode = 30;
const silent = 200;
const main = join(import.meta.dirname, "..", "..", "..", "gateway", "server", "src", "main.ts");
const shim = join(import.meta.dirname, "..", "..", "..", "shim", "src", "main.ts");

test(`${nodes * perNode + silent} connections to a gateway that may open ${openFiles} files`, async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "claviger-"));
  const lab = await startLab({
    dir,
    redis: false,
    clusters: 2,
    shims: 1,
    programs: {
      gateway: ["sh", "-c", `ulimit -n ${openFiles} && exec "$@"`, "sh", process.execPath, main],
      shim: [process.execPath, shim],
    },
  });
  const sockets: Socket[] = [];
  t.after(async () => {
    for (const socket of sockets) socket.destroy();
    await lab.stop();
    await rm(dir, { recursive: true, force: true });
  });
  const [gateway] = lab.gateways;
  assert.ok(gateway !== undefined);
  const { proc, metrics, url } = gateway;
  const files = (): number => readdirSync(`/proc/${proc.pid}/fd`).length;
  assert.match(readFileSync(`/proc/${proc.pid}/limits`, "utf8"), new RegExp(`Max open files\\s+${openFiles}\\s`));
  const connections = async (): Promise<number> => {
    const page = await (await request(metrics)).body.text();
    return Number(/^claviger_gateway_connections(?:\{[^}]*\})? (\S+)/m.exec(page)?.[1]);
  };
  const client = kmsClient(lab.shims[0]?.socket ?? "");
  t.after(() => client.close());
  const sealed = await client.encrypt(Buffer.alloc(32, 7));
  const before = files();
  const began = performance.now();

  const address = { host: new URL(url).hostname, port: Number(new URL(url).port) };
  const ca = readFileSync(lab.pki.ca);
  let most = 0;
  /** Resolves when it is open, or refused. */
  const open = (socket: Socket, event: string): Promise<void> => {
    sockets.push(socket);
    socket.on("error", () => {}).resume();
    return new Promise((resolve) => void socket.once(event, resolve).once("close", resolve));
  };
  for (let i = 0; i < nodes; i++) {
    const pair = await lab.pki.node("cluster-2", `node-${i}`);
    const tls = { cert: readFileSync(pair.cert), key: readFileSync(pair.key), ca };
    await Promise.all([
      ...Array.from({ length: perNode }, () => open(tlsConnect({ ...address, ...tls }), "secureConnect")),
      ...Array.from({ length: silent / nodes }, () => open(connect(address), "connect")),
    ]);
    most = Math.max(most, files());
    // The other cluster meanwhile, also where its own connection had to make way.
    assert.deepEqual(await client.decrypt(sealed), Buffer.alloc(32, 7));
  }
  assert.ok(most > before + 50, `${most} files were open`);
  assert.ok(most < openFiles - 20, `${most} files were open: some are left for the gateway's own`);
  assert.equal(proc.child.exitCode, null, "the gateway is alive");
  const said = logOf(proc).match(/"event":"connections-full"/g)?.length ?? 0;
  assert.ok(said >= 1 && said <= 1 + (performance.now() - began) / 60_000, `it is said once a minute: ${said}`);
  assert.doesNotMatch(logOf(proc), /EMFILE/);

  for (const socket of sockets) socket.destroy();
  await until("the gateway to have let go of them", proc, async () => ((await connections()) <= 8 ? true : undefined));
  assert.ok(files() <= before + 10, `${files()} files are open, ${before} were`);
  assert.deepEqual(await client.decrypt(await client.encrypt(Buffer.alloc(32, 8))), Buffer.alloc(32, 8));
});
