// A shim makes its connections in the background, and keeps them: handshakes are dear, and a name server
// may be slow. (docs/architecture.md #endpoints.)
import assert from "node:assert/strict";
import { createSocket, type Socket } from "node:dgram";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { shippedFlags } from "../../bench/shipped.ts";
import { type LabShim, startShim } from "../../lab/fleet.ts";
import { kmsClient } from "../../lab/kms.ts";
import { type Lab, startLab } from "../../lab/lab.ts";
import { until } from "../../lab/process-group.ts";
import { startRelay } from "../../lab/relay.ts";

const flags = shippedFlags("claviger-shim");
const shimMain = join(import.meta.dirname, "..", "..", "..", "shim", "src", "main.ts");
const program = [process.execPath, ...flags, shimMain];
/** A kube-apiserver that is left alone asks for Status once a minute. */
const statusesAnHour = 60;

suite("the connections of a shim", () => {
  let dir: string;
  let lab: Lab;
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "claviger-"));
    lab = await startLab({ dir, backend: "embedded", redis: false, shims: 1, gateways: 2 });
  });
  after(async () => {
    await lab.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  let nodes = 0;
  const start = async (
    gateways: readonly string[],
    argv: readonly string[] = program,
    serverName?: string,
  ): Promise<LabShim> =>
    await startShim({
      processes: lab.processes,
      dir,
      cluster: "cluster-1",
      node: `n${++nodes}`,
      pki: lab.pki,
      gateways,
      ...(serverName !== undefined && { serverName }),
      program: argv,
    });
  const portOf = (i: number): number => Number(new URL(lab.gateways[i]?.url ?? "").port);

  test("an hour of an idle node costs at most five handshakes, whatever the gateways' distance", async () => {
    for (const delays of [
      [0, 0],
      [40, 40],
      [0, 150],
    ] as const) {
      const relays = await Promise.all(delays.map((delay, i) => startRelay(portOf(i), delay)));
      const shim = await start(relays.map(({ port }) => `https://127.0.0.1:${port}`));
      const client = kmsClient(shim.socket);
      try {
        for (let i = 0; i < statusesAnHour; i++) {
          assert.equal((await client.status()).healthz, "ok");
          // What is late is answered, and its connection kept, before the next one.
          await sleep(Math.max(...delays));
        }
        const made = relays.reduce((sum, { connections }) => sum + connections(), 0);
        assert.ok(made <= 5, `${made} connections at ${delays.join(" and ")} ms`);
      } finally {
        client.close();
        await lab.processes.stop(shim.proc);
        for (const relay of relays) relay.close();
      }
    }
  });

  suite("behind name servers of which the first is silent", () => {
    const name = "gateway.claviger.test";
    const sockets: Socket[] = [];
    let resolver: readonly string[];

    before(async () => {
      const bind = async (address: string): Promise<Socket> => {
        const socket = createSocket("udp4");
        sockets.push(socket);
        await new Promise<void>((resolve) => void socket.bind(53, address, resolve));
        return socket;
      };
      await bind("127.0.77.1");
      const answering = await bind("127.0.77.2");
      answering.on("message", (query, { port, address }) => {
        // The question again; one A record of 127.0.0.1, and nothing for any other type.
        const end = query.indexOf(0, 12) + 5;
        const isA = query.readUInt16BE(end - 4) === 1;
        const head = Buffer.from([...query.subarray(0, 2), 0x81, 0x80, 0, 1, 0, isA ? 1 : 0, 0, 0, 0, 0]);
        const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
        answering.send(Buffer.concat([head, query.subarray(12, end), ...(isA ? [record] : [])]), port, address);
      });
      const file = join(dir, "resolv.conf");
      writeFileSync(file, "nameserver 127.0.77.1\nnameserver 127.0.77.2\n");
      resolver = ["unshare", "-m", "sh", "-c", `mount --bind ${file} /etc/resolv.conf && exec "$@"`, "sh", ...program];
    });
    after(() => {
      for (const socket of sockets) socket.close();
    });
    const byName = (i: number): string => `https://${name}:${portOf(i)}`;
    test("the only gateway is found late, and then kept", async () => {
      const shim = await start([byName(0)], resolver, "localhost");
      const client = kmsClient(shim.socket);
      try {
        await until("a first answer", undefined, () => client.status(1000).catch(() => undefined), 20_000);
        for (let i = 0; i < 40; i++) {
          assert.equal((await client.status(1000)).healthz, "ok");
          const sealed = await client.encrypt(Buffer.alloc(32, i), 1000);
          assert.equal((await client.decrypt(sealed, 1000))[0], i);
        }
      } finally {
        client.close();
        await lab.processes.stop(shim.proc);
      }
    });

    test("one whose address is known serves from the first call on", async () => {
      const shim = await start([byName(0), `https://127.0.0.1:${portOf(1)}`], resolver, "localhost");
      const client = kmsClient(shim.socket);
      try {
        for (let i = 0; i < 40; i++) {
          assert.equal((await client.status(1000)).healthz, "ok");
          const sealed = await client.encrypt(Buffer.alloc(32, i), 1000);
          assert.equal((await client.decrypt(sealed, 1000))[0], i);
          await sleep(50);
        }
      } finally {
        client.close();
        await lab.processes.stop(shim.proc);
      }
    });
  });
});
