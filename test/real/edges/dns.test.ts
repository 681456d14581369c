// The name server that a shim asks for its gateway's address. Connections are kept, so it is asked again
// only when one was lost: each fault here begins with that.
import { createSocket, type Socket } from "node:dgram";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type FaultProxy, startFaultProxy } from "../../lab/fault-proxy.ts";
import { grace } from "./cell.ts";
import { type KmsWorld, startKmsWorld } from "./kms-world.ts";
import { type Cells, describeEdges } from "./suite.ts";
import { createCertificates } from "./tls.ts";

const name = "gateway.claviger.test";
const serverAddress = "127.0.78.1";
const root = join(import.meta.dirname, "..", "..", "..");

/** What a name server makes of a question: its answer, or none. */
type Reply = (query: Buffer) => Buffer | undefined | Promise<Buffer | undefined>;
type DnsWorld = KmsWorld & { readonly proxy: FaultProxy; readonly setReply: (reply: Reply | "away") => Promise<void> };

/** The question again, with a code of RFC 1035 section 4.1.1 and the address for a question of type A. */
function answer(query: Buffer, code = 0, address = [127, 0, 0, 1]): Buffer {
  const end = query.indexOf(0, 12) + 5;
  const isA = code === 0 && query.readUInt16BE(end - 4) === 1;
  const head = Buffer.from([...query.subarray(0, 2), 0x81, 0x80 | code, 0, 1, 0, isA ? 1 : 0, 0, 0, 0, 0]);
  const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, ...address]);
  return Buffer.concat([head, query.subarray(12, end), ...(isA ? [record] : [])]);
}
function isForA(query: Buffer): boolean {
  return query.readUInt16BE(query.indexOf(0, 12) + 1) === 1;
}

async function startNameServer() {
  let socket: Socket | undefined;
  let reply: Reply = answer;
  const listen = async (): Promise<void> => {
    const made = createSocket("udp4");
    made.on("message", (query, { port, address }) => {
      void Promise.resolve(reply(query)).then((text) => {
        if (text !== undefined && socket === made) made.send(text, port, address);
      });
    });
    await new Promise<void>((resolve) => void made.bind(53, serverAddress, resolve));
    socket = made;
  };
  const close = (): void => {
    socket?.close();
    socket = undefined;
  };
  await listen();
  return {
    async setReply(next: Reply | "away") {
      close();
      if (next === "away") return;
      reply = next;
      await listen();
    },
    close,
  };
}

async function start(): Promise<DnsWorld> {
  const dir = mkdtempSync(join(tmpdir(), "claviger-edges-"));
  const file = join(dir, "resolv.conf");
  writeFileSync(file, `nameserver ${serverAddress}\n`);
  const server = await startNameServer();
  let port = 0;
  const proxy = await startFaultProxy({ target: () => port });
  const certificates = await createCertificates();
  // At the same port of another address stands somebody else.
  const other = await startFaultProxy({
    target: () => port,
    pair: certificates.foreign,
    port: proxy.port,
    host: "127.0.0.3",
  });
  const bind = `mount --bind ${file} /etc/resolv.conf && exec "$@"`;
  const main = (...path: readonly string[]): string => join(root, ...path, "src", "main.ts");
  const world = await startKmsWorld(
    {
      backend: "embedded",
      redis: false,
      serverName: "localhost",
      shimExtra: { gateways: [`https://${name}:${proxy.port}`] },
      programs: {
        gateway: [process.execPath, main("gateway", "server")],
        shim: ["unshare", "-m", "sh", "-c", bind, "sh", process.execPath, main("shim")],
      },
      onGateways: ([first]) => (port = Number(new URL(first?.url ?? "").port)),
    },
    async () => {
      await Promise.all([proxy.close(), other.close()]);
      server.close();
      for (const made of [dir, certificates.dir]) rmSync(made, { recursive: true });
    },
  );
  return { ...world, proxy, setReply: (reply) => server.setReply(reply) };
}

function replies(reply: Reply | "away") {
  return {
    async cause({ setReply, proxy }: DnsWorld) {
      await setReply(reply);
      proxy.cut();
    },
    cure: ({ setReply }: DnsWorld) => setReply(answer),
  };
}
const away = { Status: [grace], Encrypt: ["gateway_unavailable"], Decrypt: ["gateway_unavailable"] };
const atFirst = ["gateway_unavailable", "deadline_exceeded"];

const cells: Cells<DnsWorld> = {
  absent: { how: "nothing listens at its address", ...replies("away"), callers: away },
  slow: {
    how: "it answers after 2 s",
    ...replies((query) => new Promise((resolve) => setTimeout(() => resolve(answer(query)), 2000))),
    atFirst,
    lookMs: 12_000,
  },
  silent: {
    how: "it says nothing",
    ...replies(() => undefined),
    callers: { Status: [grace], Encrypt: ["deadline_exceeded"], Decrypt: ["deadline_exceeded"] },
    atFirst,
  },
  closing: { unreachable: "a question and its answer are a datagram each: nothing is open that could be closed" },
  "refusing everything": { how: "it answers REFUSED", ...replies((query) => answer(query, 5)), callers: away },
  "refusing one operation": {
    how: "it answers REFUSED to questions for IPv6 addresses (AAAA)",
    ...replies((query) => answer(query, isForA(query) ? 0 : 5)),
    atFirst,
  },
  "answering from an older state": {
    how: "it names an address where the gateway was",
    ...replies((query) => answer(query, 0, [127, 0, 0, 2])),
    callers: away,
  },
  "answering nonsense": {
    how: "it answers with bytes that are no answer",
    ...replies(() => Buffer.from("nonsense")),
    callers: {
      Status: [grace],
      Encrypt: ["gateway_unavailable", "deadline_exceeded"],
      Decrypt: ["gateway_unavailable", "deadline_exceeded"],
    },
  },
  "answering for somebody else": {
    how: "it names the address of a server that is no gateway of this fleet",
    ...replies((query) => answer(query, 0, [127, 0, 0, 3])),
    callers: away,
  },
  full: { unreachable: "a name server without room is slow, silent or refuses: see these rows" },
  "read-only": { unreachable: "nothing is written to it" },
  "credentials changed": { unreachable: "it wants none" },
  "certificate expired or replaced": {
    unreachable:
      "it shows none; who its answer leads to is known by the gateway's certificate, as in the row of somebody else",
  },
  "clock wrong": { unreachable: "its answers have no time; the resolver of the system keeps none of them" },
};

describeEdges({ dependency: "DNS", start, cells, sample: [] });
