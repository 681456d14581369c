// One node that means harm, or a machine of a stranger: what the others notice of it.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { constants, setPriority, tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { connect as tlsConnect, type TLSSocket } from "node:tls";
import { setTimeout as sleep } from "node:timers/promises";
import { methods } from "@claviger/proto/wire/protocol.ts";
import { request } from "undici";
import { createMemoryCgroup, type Cgroup } from "../../lab/cgroup.ts";
import { startCaller } from "../../lab/caller.ts";
import { type Lab, startLab } from "../../lab/lab.ts";
import { until } from "../../lab/process-group.ts";

const isFull = process.env["CLAVIGER_TEST_FULL"] === "1";
const floodMs = isFull ? 20_000 : 5000;
const stalled = isFull ? 2500 : 500;
const mebibyte = 2 ** 20;
/** The limit that infra/gateway/deployment.yaml gives a gateway. */
const shippedLimit = 512 * mebibyte;

/** The worst bodies that a caller can send: many small things to decode, or much to wait for. */
const worst = [
  { path: methods.decryptBatch, type: "application/proto", body: Buffer.alloc(mebibyte, Buffer.from([0x0a, 0])) },
  {
    path: methods.decryptBatch,
    type: "application/json",
    body: Buffer.from(`{"requests":[${'"",'.repeat(349_000)}""]}`),
  },
  { path: methods.decrypt, type: "application/proto", body: Buffer.alloc(mebibyte, Buffer.from([0x22, 0])) },
  { path: methods.encrypt, type: "application/proto", body: Buffer.alloc(mebibyte, 0x0a) },
];

suite("one node floods both gateways", () => {
  let dir: string;
  let lab: Lab;
  let cgroup: Cgroup;
  let tls: { readonly cert: Buffer; readonly key: Buffer; readonly ca: Buffer };
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    lab = await startLab({ dir, clusters: 2, shims: 2, gateways: 2 });
    cgroup = createMemoryCgroup(`claviger-test-${process.pid}`, shippedLimit * 2);
    for (const { proc } of lab.gateways) cgroup.add(proc.pid);
    const pair = await lab.pki.node("cluster-1", "node-1");
    tls = { cert: readFileSync(pair.cert), key: readFileSync(pair.key), ca: readFileSync(lab.pki.ca) };
  });
  after(async () => {
    await lab.stop();
    cgroup.remove();
    await rm(dir, { recursive: true, force: true });
  });

  const urls = (): readonly URL[] => lab.gateways.map(({ url }) => new URL(url));
  const metric = async (url: string, name: string): Promise<number> => {
    const page = await (await request(url)).body.text();
    return Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)`, "m").exec(page)?.[1]);
  };

  /** Another cluster's calls while `flood` is under way: their times, and what failed. */
  const watchOther = async (flood: () => Promise<void>): Promise<void> => {
    const other = lab.shims[1];
    assert.ok(other !== undefined);
    const caller = await startCaller(other.socket);
    // Who floods is another machine: it must not take the gateways' own processor.
    setPriority(constants.priority.PRIORITY_LOW);
    await flood().finally(() => setPriority(constants.priority.PRIORITY_NORMAL));
    const { times, failures, healthz } = await caller.stop();
    const sorted = times.toSorted((a, b) => a - b);
    const p99 = sorted[Math.floor(sorted.length * 0.99)] ?? 0;
    console.log(
      `another cluster meanwhile: ${times.length} calls, ${failures.length} failed, p50 ${sorted[sorted.length >> 1]?.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`,
    );
    assert.deepEqual(failures, []);
    assert.ok(times.length > 50);
    assert.equal(healthz, "ok");
    assert.equal(await metric(other.metrics, "claviger_shim_outage_phase"), 0);
    if (isFull) assert.ok(p99 <= 50, `p99 ${p99} ms`);
  };

  test("the worst messages of a mebibyte on 16 connections: another cluster loses no call", async () => {
    let sent = 0;
    const flood = async (url: URL, end: number): Promise<void> => {
      for (let i = 0; Date.now() < end; i++) {
        const message = worst[i % worst.length];
        assert.ok(message !== undefined);
        await new Promise<void>((resolve) => {
          const socket: TLSSocket = tlsConnect({ host: url.hostname, port: Number(url.port), ...tls }, () => {
            socket.write(
              `POST ${message.path} HTTP/1.1\r\nhost: x\r\ncontent-type: ${message.type}\r\ncontent-length: ${message.body.length}\r\nconnection: close\r\n\r\n`,
            );
            socket.write(message.body);
          });
          socket.on("error", () => {}).on("close", () => resolve());
          socket.resume();
        });
        sent += 1;
      }
    };
    await watchOther(async () => {
      const end = Date.now() + floodMs;
      await Promise.all(urls().flatMap((url) => Array.from({ length: 8 }, () => flood(url, end))));
    });
    console.log(`${sent} messages of a mebibyte in ${floodMs / 1000} s`);
    assert.ok(sent > 20);
  });

  test("stalled bodies and silent connections under the shipped memory limit: the gateways live and serve others", async () => {
    const sockets: Socket[] = [];
    const head = `POST ${methods.decryptBatch} HTTP/1.1\r\nhost: x\r\ncontent-type: application/proto\r\ncontent-length: ${mebibyte}\r\n\r\n`;
    const open = (url: URL, isSilent: boolean): void => {
      const address = { host: url.hostname, port: Number(url.port) };
      const socket = isSilent
        ? connect(address)
        : tlsConnect({ ...address, ...tls }, () => {
            socket.write(head);
            // All but one byte of what is announced.
            socket.write(Buffer.alloc(mebibyte - 1));
          });
      socket.on("error", () => {});
      socket.resume();
      sockets.push(socket);
    };
    await watchOther(async () => {
      for (let i = 0; i < stalled; i++) {
        for (const url of urls()) {
          open(url, true);
          open(url, false);
        }
        if (i % 50 === 49) await sleep(20);
      }
      await sleep(isFull ? 20_000 : 3000);
    });
    for (const socket of sockets) socket.destroy();
    for (const { metrics } of lab.gateways) {
      const left = async (): Promise<true | undefined> =>
        (await metric(metrics, "claviger_gateway_connections")) < 20 ? true : undefined;
      await until("the gateway to have let go of them", undefined, left);
      // A request ends once its record is written.
      const ended = async (): Promise<true | undefined> =>
        (await metric(metrics, "claviger_gateway_requests_in_flight")) === 0 ? true : undefined;
      await until("the requests to end", undefined, ended, 2000);
    }
    for (const { proc, url } of lab.gateways) {
      assert.equal(proc.child.exitCode, null, `${url} is alive`);
      assert.equal(proc.child.signalCode, null);
    }
  });
});
