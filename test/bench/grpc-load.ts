// A load on a shim's socket, as a process of its own: so many calls at once for so long, and what
// became of them. Speaks HTTP/2 frames of gRPC itself, since a whole client library would cost more
// than what is measured. `node test/bench/grpc-load.ts OPTIONS` with OPTIONS as JSON; prints JSON.
import { readFileSync } from "node:fs";
import { type ClientHttp2Session, connect } from "node:http2";
import { connect as connectSocket } from "node:net";

export type LoadOptions = {
  readonly socket: string;
  /** `/v2.KeyManagementService/Decrypt` and so on. */
  readonly path: string;
  /** A JSON file: serialized requests in base64, taken in turn. */
  readonly bodies: string;
  readonly concurrency: number;
  readonly seconds: number;
};

export type LoadResult = {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly calls: number;
  readonly failed: number;
};

const streamsPerConnection = 512;
const timeoutMs = 3000;

function frameOf(message: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** One call; resolves with whether gRPC says OK. */
function call(session: ClientHttp2Session, path: string, frame: Buffer): Promise<boolean> {
  return new Promise((resolve) => {
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      ":authority": "localhost",
      "content-type": "application/grpc",
      te: "trailers",
      "grpc-timeout": `${timeoutMs}m`,
    });
    let isOk = false;
    const read = (headers: Readonly<Record<string, unknown>>): void => {
      if (headers["grpc-status"] !== undefined) isOk = headers["grpc-status"] === "0";
    };
    const timer = setTimeout(() => stream.close(8), timeoutMs);
    stream.on("response", read);
    stream.on("trailers", read);
    stream.on("error", () => {});
    stream.on("close", () => {
      clearTimeout(timer);
      resolve(isOk);
    });
    stream.resume();
    stream.end(frame);
  });
}

async function measure({ socket, path, bodies, concurrency, seconds }: LoadOptions): Promise<LoadResult> {
  const frames = (JSON.parse(readFileSync(bodies, "utf8")) as readonly string[]).map((text) =>
    frameOf(Buffer.from(text, "base64")),
  );
  const open = (): ClientHttp2Session => {
    const session = connect("http://localhost", { createConnection: () => connectSocket(socket) });
    // A session that breaks fails its calls; the next call makes another one.
    session.on("error", () => {});
    return session;
  };
  const sessions = Array.from({ length: Math.ceil(concurrency / streamsPerConnection) }, open);
  const times: number[] = [];
  let failed = 0;
  let turn = 0;
  const began = performance.now();
  const end = began + seconds * 1000;
  const sessionOf = (i: number): ClientHttp2Session => {
    const session = sessions[i % sessions.length];
    if (session !== undefined && !session.closed && !session.destroyed) return session;
    const next = open();
    sessions[i % sessions.length] = next;
    return next;
  };
  const worker = async (i: number): Promise<void> => {
    while (performance.now() < end) {
      const frame = frames[turn++ % frames.length];
      if (frame === undefined) throw new TypeError("no bodies");
      const at = performance.now();
      if (await call(sessionOf(i), path, frame)) times.push(performance.now() - at);
      else failed += 1;
    }
  };
  await Promise.all(Array.from({ length: concurrency }, (_, i) => worker(i)));
  const took = (performance.now() - began) / 1000;
  for (const session of sessions) session.close();
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return { perSecond: times.length / took, p50: at(0.5), p99: at(0.99), calls: times.length + failed, failed };
}

const [options] = process.argv.slice(2);
if (options === undefined) throw new Error("usage: node test/bench/grpc-load.ts OPTIONS (JSON)");
process.stdout.write(`${JSON.stringify(await measure(JSON.parse(options) as LoadOptions))}\n`);
