// A caller that resets a stream and keeps its connection: what was done for it ends, nothing of it
// stays, and the connection serves the next call.
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type ClientHttp2Stream, connect as connectHttp2, constants } from "node:http2";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { methods } from "@claviger/proto/wire/protocol.ts";
import type { KmsMethod } from "@claviger/shim/src/kms.ts";
import { createKmsSocketServer } from "@claviger/shim/src/server.ts";
import { until } from "../../lab/process-group.ts";
import { noMetrics, silent } from "./fakes.ts";

/** A message as gRPC frames it. */
function frameOf(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** A shim's socket, and one HTTP/2 connection to it that takes `window` bytes of each reply by itself. */
async function start(t: TestContext, encrypt: KmsMethod, window: number) {
  const dir = mkdtempSync(join(tmpdir(), "claviger-leaving-"));
  const path = join(dir, "kms.sock");
  const echo: KmsMethod = (request) => Promise.resolve(Buffer.from(request));
  const counts = { started: 0, results: [] as string[] };
  const server = createKmsSocketServer({
    kms: { status: echo, encrypt, decrypt: echo, v1Version: echo, v1Encrypt: echo, v1Decrypt: echo },
    metrics: {
      ...noMetrics,
      started: () => void (counts.started += 1),
      finished: (_, result) => void counts.results.push(result),
    },
    log: silent,
    maxCalls: 100,
    maxConnections: 8,
  });
  server.socketServer.listen(path);
  await once(server.socketServer, "listening");
  const session = connectHttp2("http://localhost", {
    createConnection: () => connect(path),
    settings: { initialWindowSize: window },
  });
  t.after(async () => {
    session.destroy();
    await server.drain(200);
    rmSync(dir, { recursive: true });
  });
  const open = (method: string): ClientHttp2Stream => {
    const stream = session.request({
      ":method": "POST",
      ":path": method,
      "content-type": "application/grpc",
      te: "trailers",
    });
    stream.on("error", () => {});
    return stream;
  };
  const call = async (message: Uint8Array): Promise<Buffer> => {
    const stream = open(methods.status);
    stream.end(frameOf(message));
    const chunks: Buffer[] = [];
    for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk);
    return Buffer.concat(chunks).subarray(5);
  };
  return { open, call, counts, session };
}

const secret = Buffer.alloc(32, 7);

type Row = {
  readonly point: string;
  /** Sends what is sent before the reset; the rest of the message never comes. */
  readonly send: (stream: ClientHttp2Stream) => void;
  /** Has the shim begun to serve it? */
  readonly isServed: boolean;
  /** Does the gateway answer, into a window that is closed? */
  readonly isAnswered?: boolean;
  readonly result?: "canceled" | "ok";
};
const rows: readonly Row[] = [
  { point: "after the headers", send: () => {}, isServed: false },
  {
    point: "in the middle of the message",
    send: (stream) => void stream.write(frameOf(secret).subarray(0, 20)),
    isServed: false,
  },
  {
    point: "while the gateway is asked",
    send: (stream) => void stream.end(frameOf(secret)),
    isServed: true,
    result: "canceled",
  },
  {
    point: "while it takes no byte of the reply",
    send: (stream) => void stream.end(frameOf(secret)),
    isServed: true,
    isAnswered: true,
    result: "ok",
  },
];

for (const { point, send, isServed, isAnswered = false, result } of rows)
  test(`a stream is reset ${point}: nothing stays, and the connection serves`, async (t) => {
    const asked = Promise.withResolvers<{ readonly request: Uint8Array; readonly signal: AbortSignal }>();
    const reply = Buffer.from(secret);
    const encrypt: KmsMethod = (request, _deadline, signal) => {
      asked.resolve({ request, signal });
      if (isAnswered) return Promise.resolve(reply);
      return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)));
    };
    const { open, call, counts, session } = await start(t, encrypt, isAnswered ? 0 : 65_535);
    const stream = open(methods.encrypt);
    send(stream);
    if (isServed) assert.equal((await asked.promise).signal.aborted, false);
    if (isAnswered) await once(stream, "response");

    stream.close(constants.NGHTTP2_CANCEL);
    await once(stream, "close");

    if (isServed) {
      const { request, signal } = await asked.promise;
      await until("the end of the call", undefined, () => (counts.results.length > 0 ? true : undefined));
      if (!isAnswered) assert.ok(signal.aborted);
      await until(
        "the request to be zeroized",
        undefined,
        () => (request.every((b) => b === 0) ? true : undefined),
        2000,
      );
    }
    if (isAnswered)
      await until("the reply to be zeroized", undefined, () => (reply.every((b) => b === 0) ? true : undefined), 2000);

    session.settings({ initialWindowSize: 65_535 });
    assert.deepEqual(await call(Buffer.from("next")), Buffer.from("next"));
    await until("the end of the next call", undefined, () =>
      counts.results.length === counts.started ? true : undefined,
    );
    assert.deepEqual(counts.results, [...(result === undefined ? [] : [result]), "ok"]);
  });
