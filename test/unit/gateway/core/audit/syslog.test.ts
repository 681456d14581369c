// The syslog sink against a collector that takes every message apart: by its length, by its header,
// and by the record in it.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test, type TestContext } from "node:test";
import { createServer as createTlsServer } from "node:tls";
import type { SyslogConfig } from "@claviger/gateway-core/src/audit/config.ts";
import { createAuditLog } from "@claviger/gateway-core/src/audit/log.ts";
import { checkSinks } from "@claviger/gateway-core/src/audit/sinks.ts";
import { createSyslogSink } from "@claviger/gateway-core/src/audit/syslog.ts";
import { createCa, issueGateway, issueNode } from "@claviger/gateway-core/src/pki/authority.ts";
import { type PairFiles, writeCa, writePem } from "@claviger/gateway-core/src/pki/files.ts";
import { type SinkWorld, sinkContract } from "../../../../contracts/audit-sink.ts";
import { silent } from "../../fakes.ts";
import { createFakeSink } from "./fakes.ts";
import { entry, found, processLines, verify } from "./records.ts";

const sender = { host: "gateway 1", pid: 42 };
const header = /^<110>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) gateway-1 claviger-gateway 42 audit - /;

/** The records in a stream of messages; what is not of RFC 5424 and 5425 is an error. */
function recordsOf(bytes: Buffer): readonly string[] {
  const records: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(" ", at);
    const length = bytes.toString("latin1", at, space);
    assert.match(length, /^[1-9]\d*$/, "MSG-LEN SP");
    const message = bytes.subarray(space + 1, space + 1 + Number(length));
    assert.equal(message.length, Number(length), "a message is whole");
    const [before = ""] = header.exec(message.toString("utf8")) ?? [];
    assert.notEqual(before, "", message.toString("utf8").slice(0, 100));
    records.push(message.toString("utf8").slice(before.length));
    at = space + 1 + Number(length);
  }
  return records;
}

/** What the connections of a server have brought, one buffer for each. */
function collect(server: Server, event: "connection" | "secureConnection") {
  const sockets: Socket[] = [];
  const bytes: Buffer[] = [];
  server.on(event, (socket: Socket) => {
    const i = sockets.push(socket) - 1;
    bytes[i] = Buffer.alloc(0);
    socket.on("data", (chunk) => {
      bytes[i] = Buffer.concat([bytes[i] ?? Buffer.alloc(0), chunk]);
    });
    socket.on("error", () => {});
  });
  return {
    sockets,
    bytes,
    /** Waits for the record `n` of a connection. */
    async records(connection: number, n: number): Promise<readonly string[]> {
      for (;;) {
        const lines = (bytes[connection] ?? "").toString().split('"sequence":').length - 1;
        if (lines >= n) return recordsOf(bytes[connection] ?? Buffer.alloc(0));
        await new Promise(setImmediate);
      }
    },
  };
}

/** A collector on a unix socket, which may go and come back. */
async function startSocketWorld(): Promise<SinkWorld> {
  const home = await mkdtemp(join(tmpdir(), "claviger-"));
  const path = join(home, "log");
  let heard: ReturnType<typeof collect>[] = [];
  let listener: Server;
  const listen = async (): Promise<void> => {
    listener = createServer();
    heard = [...heard, collect(listener, "connection")];
    await once(listener.listen(path), "listening");
  };
  const end = async (): Promise<void> => {
    const sockets = heard.flatMap((collector) => collector.sockets).filter(({ destroyed }) => !destroyed);
    await Promise.all([
      new Promise((resolve) => listener.close(resolve)),
      ...sockets.map((socket) => once(socket.destroy(), "close")),
    ]);
  };
  const linesOf = (): readonly string[] =>
    heard.flatMap(({ bytes }) => bytes).flatMap((received) => recordsOf(received));
  await listen();
  return {
    sink: createSyslogSink({ kind: "syslog-socket", path, facility: 13 }, sender),
    async read(lines) {
      while (linesOf().length < lines) await new Promise(setImmediate);
      return linesOf()
        .map((line) => `${line}\n`)
        .join("");
    },
    broken: { breakIt: end, mend: listen },
    async stop() {
      await end();
      await rm(home, { recursive: true, force: true });
    },
  };
}

sinkContract("a syslog collector", startSocketWorld, { reopen: true, last: false, comesBack: true });

let dir: string;
let ca: string;
let server: PairFiles;
let client: PairFiles;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), "claviger-syslog-"));
  const authority = await createCa({ trustDomain: "fleet.example" });
  ca = (await writeCa(dir, authority)).cert;
  server = await writePem({
    dir,
    name: "collector",
    pair: await issueGateway({ ca: authority, dnsNames: ["localhost"], ips: ["127.0.0.1"] }),
  });
  client = await writePem({
    dir,
    name: "client",
    pair: await issueNode({ ca: authority, cluster: "prod", node: "node-1" }),
  });
});
after(() => rm(dir, { recursive: true, force: true }));

async function startCollector(t: TestContext, port = 0) {
  const tls = { cert: readFileSync(server.cert), key: readFileSync(server.key), ca: readFileSync(ca) };
  const listener = createTlsServer({ ...tls, requestCert: true, rejectUnauthorized: true });
  const collected = collect(listener, "secureConnection");
  listener.listen(port, "127.0.0.1");
  await once(listener, "listening");
  const stop = (): void => {
    for (const socket of collected.sockets) socket.destroy();
    listener.close();
  };
  t.after(stop);
  return { ...collected, port: (listener.address() as AddressInfo).port, stop };
}

function configOf(port: number, more: object = {}): SyslogConfig {
  return {
    kind: "syslog",
    node: { host: "127.0.0.1", port },
    facility: 13,
    ca,
    cert: client.cert,
    key: client.key,
    ...more,
  };
}

suite("the syslog sink", () => {
  test("each record is a message of its own behind its length in bytes, and its chain can be verified", async (t) => {
    const collector = await startCollector(t);
    const sink = createSyslogSink(configOf(collector.port), sender);
    const { lines } = processLines(20, 0);
    await sink.write(Buffer.from(`${lines.slice(0, 5).join("\n")}\n`));
    await sink.write(Buffer.from(`${lines.slice(5).join("\n")}\n`));
    await sink.close();
    const records = await collector.records(0, lines.length);
    assert.deepEqual(records, lines);
    assert.deepEqual(found(await verify([[...records]])), []);
    assert.equal(collector.sockets.length, 1, "over one connection");
  });

  test("lengths count bytes, not characters", async (t) => {
    const collector = await startCollector(t);
    const sink = createSyslogSink(configOf(collector.port), sender);
    const audit = createAuditLog({ sinks: [sink], required: true, log: silent });
    await audit.record(entry(1, { names: "spiffe://fleet.example/ä€😀" }));
    await audit.record(entry(2));
    await audit.close();
    assert.equal((await collector.records(0, 2)).length, 2);
  });

  test("a unix stream socket gets the same messages", async (t) => {
    const path = join(dir, "syslog.sock");
    const listener = createServer();
    const collector = collect(listener, "connection");
    listener.listen(path);
    await once(listener, "listening");
    t.after(() => listener.close());
    const sink = createSyslogSink({ kind: "syslog-socket", path, facility: 13 }, sender);
    const { lines } = processLines(3, 0);
    await sink.write(Buffer.from(`${lines.join("\n")}\n`));
    assert.deepEqual(await collector.records(0, lines.length), lines);
    await sink.close();
  });

  test("a collector of another authority, or of another name, gets nothing", async (t) => {
    const collector = await startCollector(t);
    const other = await createCa({ trustDomain: "fleet.example" });
    const { cert } = await writeCa(join(dir, "other"), other);
    for (const [more, code] of [
      [{ ca: cert }, /signature|UNABLE_TO_VERIFY|SELF_SIGNED/i],
      [{ serverName: "elsewhere.example" }, /ERR_TLS_CERT_ALTNAME_INVALID/],
    ] as const) {
      const sink = createSyslogSink(configOf(collector.port, more), sender);
      await assert.rejects(sink.write(Buffer.from("x\n")), (error: NodeJS.ErrnoException) =>
        code.test(`${error.code} ${error.message}`),
      );
      await sink.close();
    }
    assert.equal(Buffer.concat(collector.bytes).length, 0);
  });

  test("after a collector was away, records go to it again, and a record says which it misses", async (t) => {
    const first = await startCollector(t);
    const sink = createSyslogSink(configOf(first.port), sender);
    const other = createFakeSink("other");
    const audit = createAuditLog({ sinks: [sink, other], required: true, log: silent });
    const isWell = (): boolean => audit.sinks()[0]?.problem === undefined;
    await audit.record(entry(1));
    await first.records(0, 1);
    first.stop();
    // The first ones may have gone into a connection that had ended.
    for (let n = 2; isWell(); n++) {
      await audit.record(entry(n));
      await new Promise(setImmediate);
    }
    const second = await startCollector(t, first.port);
    for (let n = 100; !isWell(); n++) {
      await audit.record(entry(n));
      await new Promise(setImmediate);
    }
    await audit.close();
    const text = second.bytes.map((bytes) => recordsOf(bytes).join("\n")).join("\n");
    assert.match(text, /"method":"audit",.*"missing":\[\[\d+,\d+\]\]/);
  });

  test("a collector that reads nothing is given up after 5 s, and the sink connects anew", async (t) => {
    const collector = await startCollector(t);
    const sink = createSyslogSink(configOf(collector.port), sender);
    await sink.write(Buffer.from(`${processLines(1, 0).lines[0]}\n`));
    await collector.records(0, 1);
    collector.sockets[0]?.pause();
    t.mock.timers.enable({ apis: ["setTimeout"] });
    // More than the system's own buffers take.
    const refused = assert.rejects(
      sink.write(Buffer.from(`${"x".repeat(32 * 2 ** 20)}\n`)),
      /the collector has taken nothing for 5000 ms/,
    );
    await new Promise(setImmediate);
    t.mock.timers.tick(5000);
    await refused;
    t.mock.timers.reset();
    await sink.write(Buffer.from(`${processLines(1, 0).lines[0]}\n`));
    assert.equal((await collector.records(1, 1)).length, 1);
    await sink.close();
  });

  test("what a start would find is told before it: files that cannot be read, half a pair", () => {
    assert.deepEqual(checkSinks([configOf(1)]), []);
    assert.deepEqual(checkSinks([configOf(1, { ca: "/nowhere" }), configOf(1, { key: undefined })]), [
      "audit.sinks.0.ca: /nowhere cannot be read (ENOENT)",
      "audit.sinks.1.cert: and key must both be there, or neither",
    ]);
  });
});
