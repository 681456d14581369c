// What a request that nobody waits for any more costs: its connection, only where that tells somebody.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { exchange, ReplyTooLarge } from "@claviger/proto/runtime/exchange.ts";
import { lost } from "@claviger/proto/runtime/endpoint-round.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { buildConnector, Pool } from "undici";

type Seen = { readonly request: IncomingMessage; readonly response: ServerResponse };

/** A server that leaves the answers to the test, and a pool of one connection to it. */
async function startServer(t: TestContext) {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    seen.push({ request, response });
    server.emit("seen");
  });
  let connections = 0;
  server.on("connection", () => (connections += 1));
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  const pool = new Pool(`http://127.0.0.1:${port}`, { connections: 1 });
  t.after(async () => {
    await pool.destroy();
    server.close();
    server.closeAllConnections();
  });
  const ask = (signal: AbortSignal, via = pool) =>
    exchange(via, { method: "POST", path: "/", body: Buffer.from("?"), signal, maxReplyBytes: 1000 });
  const next = async (count: number): Promise<Seen> => {
    while (seen.length < count) await once(server, "seen");
    return seen[count - 1] as Seen;
  };
  return { port, ask, next, seen, connections: () => connections };
}

const never = new AbortController().signal;

test("a reply has its status, its headers and all its bytes", async (t) => {
  const { ask, next } = await startServer(t);
  const reply = ask(never);
  const { response } = await next(1);
  response.writeHead(201, { "x-said": "so" }).write("one ");
  response.end("two");
  const { status, headers, body } = await reply;
  assert.deepEqual([status, headers["x-said"], body.toString()], [201, "so", "one two"]);
});

test("what lost to another is let finish, and its connection serves the next request", async (t) => {
  const { ask, next, connections } = await startServer(t);
  const controller = new AbortController();
  const loser = ask(controller.signal);
  const { response } = await next(1);
  controller.abort(lost);
  const other = ask(never);
  response.end("late");
  assert.equal((await loser).body.length, 0);
  (await next(2)).response.end("good");
  assert.equal((await other).body.toString(), "good");
  assert.equal(connections(), 1);
});

test("what is over in time is let finish where the other end answers in time, and nowhere else", async (t) => {
  const { port, next, connections } = await startServer(t);
  const pool = new Pool(`http://127.0.0.1:${port}`, { connections: 1 });
  t.after(() => pool.destroy());
  const asked = { method: "POST", path: "/", body: Buffer.from("?"), maxReplyBytes: 1000 };
  const over = new AbortController();
  const late = exchange(pool, { ...asked, signal: over.signal, answersInTime: true });
  const { response } = await next(1);
  over.abort(new KmsError("deadline_exceeded"));
  const other = exchange(pool, { ...asked, signal: never });
  response.end("there was no time left");
  assert.equal((await late).body.length, 0);
  (await next(2)).response.end("good");
  assert.equal((await other).body.toString(), "good");
  assert.equal(connections(), 1);
  const cut = new AbortController();
  const silent = exchange(pool, { ...asked, signal: cut.signal });
  const { request } = await next(3);
  const closed = once(request.socket, "close");
  cut.abort(new KmsError("deadline_exceeded"));
  await assert.rejects(silent, { reason: "deadline_exceeded" });
  await closed;
});

test("what lost and is never answered ends with its connection", async (t) => {
  const { ask, next } = await startServer(t);
  const controller = new AbortController();
  const loser = ask(controller.signal);
  const { request } = await next(1);
  controller.abort(lost);
  const began = performance.now();
  await assert.rejects(loser, KmsError);
  await once(request.socket, "close");
  assert.ok(performance.now() - began > 1000, "it had time to be answered");
});

test("a caller that leaves is seen at once", async (t) => {
  const { ask, next } = await startServer(t);
  const controller = new AbortController();
  const call = ask(controller.signal);
  const { request } = await next(1);
  const closed = once(request.socket, "close");
  controller.abort(new KmsError("canceled"));
  await assert.rejects(call, { reason: "canceled" });
  await closed;
});

test("what is given up before it is sent is never sent, and the connection made for it is kept", async (t) => {
  const { port, ask, next, seen, connections } = await startServer(t);
  const gate = Promise.withResolvers<undefined>();
  const build = buildConnector({});
  const pool = new Pool(`http://127.0.0.1:${port}`, {
    connections: 1,
    connect: (options, callback) => void gate.promise.then(() => build(options, callback)),
  });
  t.after(() => pool.destroy());
  const controller = new AbortController();
  const givenUp = ask(controller.signal, pool);
  controller.abort(new KmsError("deadline_exceeded"));
  await assert.rejects(givenUp, { reason: "deadline_exceeded" });
  gate.resolve(undefined);
  const other = ask(never, pool);
  (await next(1)).response.end("other");
  assert.equal((await other).body.toString(), "other");
  assert.deepEqual([seen.length, connections()], [1, 1]);
});

test("a reply that is too large is not read to its end", async (t) => {
  const { ask, next } = await startServer(t);
  const call = ask(never);
  (await next(1)).response.end(Buffer.alloc(2000));
  await assert.rejects(call, ReplyTooLarge);
});
