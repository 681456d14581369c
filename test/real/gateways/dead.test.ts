// One healthy gateway among several is enough, whatever the others do: the shipped shim program, a
// real gateway behind a relay that delays, and gateways that are dead in each way there is.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer as createHttps } from "node:https";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { shippedFlags } from "../../bench/shipped.ts";
import { startShim } from "../../lab/fleet.ts";
import { kmsClient } from "../../lab/kms.ts";
import { type Lab, startLab } from "../../lab/lab.ts";
import { type Relay, startRelay } from "../../lab/relay.ts";

const isFull = process.env["CLAVIGER_TEST_FULL"] === "1";
const isolatedCalls = isFull ? 500 : 12;
const loadCalls = isFull ? 500 : 60;
const counts = isFull ? [1, 2, 3, 5] : [5];
const delays = isFull ? [0, 40, 150] : [0, 150];
const deadlines = isFull ? [3000, 1000] : [1000];

const flags = shippedFlags("claviger-shim");
const shimMain = join(import.meta.dirname, "..", "..", "..", "shim", "src", "main.ts");

suite("all gateways but one are dead", () => {
  let dir: string;
  let lab: Lab;
  let tls: { readonly cert: Buffer; readonly key: Buffer };
  const servers: Server[] = [];
  const relays: Relay[] = [];
  const sockets = new Set<Socket>();
  /** What fills the queue of the listener that takes nothing. */
  const held: Socket[] = [];

  const listen = async (server: Server, backlog?: number): Promise<string> => {
    servers.push(server);
    server.on("connection", (socket: Socket) => {
      sockets.add(socket);
      socket.on("error", () => {}).once("close", () => sockets.delete(socket));
    });
    await new Promise<void>((resolve) => {
      server.listen({ port: 0, host: "127.0.0.1", ...(backlog !== undefined && { backlog }) }, resolve);
    });
    return `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  };

  const dead: Readonly<Record<string, () => Promise<string>>> = {
    "refuses connections": async () => {
      const server = createServer();
      const url = await listen(server);
      await new Promise((resolve) => server.close(resolve));
      return url;
    },
    "accepts and is silent": () => listen(createServer()),
    "answers no connection": async () => {
      // A listener whose queue is full: the kernel drops what comes.
      const server = createServer();
      const url = await listen(server, 1);
      server.removeAllListeners("connection");
      server.on("connection", () => {});
      const port = Number(new URL(url).port);
      // Stops taking connections out of the queue, which then fills.
      (server as unknown as { _handle: { onconnection: () => void } })._handle.onconnection = () => {};
      for (let i = 0; i < 8; i++) held.push(connect({ port, host: "127.0.0.1" }).on("error", () => {}));
      await sleep(50);
      return url;
    },
    "never finishes a handshake": () =>
      listen(createServer((socket) => socket.once("data", () => socket.write(Buffer.from([0x16, 3, 3, 0, 200]))))),
    "answers 500 to all": async () => {
      return await listen(createHttps(tls, (_request, response) => response.writeHead(500).end("broken")));
    },
  };

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    lab = await startLab({ dir, backend: "embedded", redis: false, shims: 1, gateways: 1 });
    const pair = await lab.pki.gateway("dead");
    tls = { cert: readFileSync(pair.cert), key: readFileSync(pair.key) };
  });
  after(async () => {
    await lab.stop();
    for (const server of servers) server.close();
    for (const relay of relays) relay.close();
    for (const socket of [...sockets, ...held]) socket.destroy();
    await rm(dir, { recursive: true, force: true });
  });

  let number = 0;
  /** One cell of the table: what was lost of all these calls, and how long the slowest Status took. */
  const cell = async (make: () => Promise<string>, count: number, delay: number): Promise<string> => {
    const what = `${count} gateways, ${delay} ms`;
    number += 1;
    const node = `n${number}`;
    const relay = await startRelay(Number(new URL(lab.gateways[0]?.url ?? "").port), delay);
    relays.push(relay);
    const good = `https://127.0.0.1:${relay.port}`;
    const others = await Promise.all(Array.from({ length: count - 1 }, make));
    const shim = await startShim({
      processes: lab.processes,
      dir,
      cluster: "cluster-1",
      node,
      pki: lab.pki,
      // The good one is the last of the list: nothing is won by trying it first.
      gateways: [...others, good],
      program: [process.execPath, ...flags, shimMain],
    });
    const client = kmsClient(shim.socket);
    const failures: string[] = [];
    let slowestStatus = 0;
    const timed = async (call: () => Promise<unknown>, isStatus: boolean): Promise<void> => {
      const began = performance.now();
      await call().catch((error: unknown) => failures.push(String(error)));
      if (isStatus) slowestStatus = Math.max(slowestStatus, performance.now() - began);
    };
    // The first calls of its life: nothing is known of any gateway, and no connection is there.
    await Promise.all([
      timed(() => client.status(1000), true),
      timed(() => client.encrypt(Buffer.alloc(32, 1), 1000), false),
    ]);
    assert.deepEqual(failures, [], `first calls, ${what}`);
    for (const deadline of deadlines) {
      const sealed = await client.encrypt(Buffer.alloc(32, 1), deadline);
      const kinds = [
        () => timed(() => client.status(deadline), true),
        () => timed(() => client.encrypt(Buffer.alloc(32, 2), deadline), false),
        () => timed(() => client.decrypt(sealed, deadline), false),
      ];
      for (let i = 0; i < isolatedCalls; i++) await kinds[i % 3]?.();
      for (let i = 0; i < loadCalls; i += 10)
        await Promise.all(Array.from({ length: 10 }, async (_, j) => await kinds[j % 3]?.()));
    }
    client.close();
    await lab.processes.stop(shim.proc);
    const row = `${what}: ${failures.length} failed, slowest Status ${slowestStatus.toFixed(0)} ms`;
    assert.deepEqual(failures, [], row);
    assert.ok(slowestStatus <= 1000, row);
    return row;
  };
  for (const [kind, make] of Object.entries(dead))
    test(`a gateway that ${kind}`, async () => {
      const rows: string[] = [];
      // What waits takes no processor: the cells with a far gateway stand beside each other.
      for (const delay of delays)
        if (delay === 0) for (const count of counts) rows.push(await cell(make, count, delay));
        else rows.push(...(await Promise.all(counts.map(async (count) => await cell(make, count, delay)))));
      console.log(`${kind}:\n  ${rows.join("\n  ")}`);
    });
});
