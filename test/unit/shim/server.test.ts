import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { connect as connectHttp2, type IncomingHttpHeaders } from "node:http2";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { once } from "node:events";
import { test, type TestContext } from "node:test";
import { Client, credentials, type ServiceError, status } from "@grpc/grpc-js";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { steadyNow } from "@claviger/proto/runtime/clock.ts";
import { methods } from "@claviger/proto/wire/protocol.ts";
import type { KmsMethod, KmsMethods } from "@claviger/shim/src/kms.ts";
import { createKmsSocketServer } from "@claviger/shim/src/server.ts";
import { until } from "../../lab/process-group.ts";
import { noMetrics, silent } from "./fakes.ts";

const echo: KmsMethod = (request) => Promise.resolve(Buffer.from(request));
function same(bytes: Buffer): Buffer {
  return bytes;
}

async function start(t: TestContext, change: Partial<KmsMethods> = {}, limits = { maxCalls: 100, maxConnections: 8 }) {
  const dir = mkdtempSync(join(tmpdir(), "claviger-server-"));
  const path = join(dir, "kms.sock");
  const kms = {
    status: echo,
    encrypt: echo,
    decrypt: echo,
    v1Version: echo,
    v1Encrypt: echo,
    v1Decrypt: echo,
    ...change,
  };
  const server = createKmsSocketServer({ kms, metrics: noMetrics, log: silent, ...limits });
  server.socketServer.listen(path);
  await once(server.socketServer, "listening");
  let opened = 0;
  server.socketServer.on("connection", () => (opened += 1));
  const clients: Client[] = [];
  const newClient = (): Client => {
    const client = new Client(`unix:${path}`, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 });
    clients.push(client);
    return client;
  };
  const client = newClient();
  const call = (name: string, body: Buffer, deadlineMs = 2000, by = client): Promise<Buffer> =>
    new Promise((resolve, reject) => {
      by.makeUnaryRequest(name, same, same, body, { deadline: Date.now() + deadlineMs }, (error, response) =>
        error === null && response !== undefined ? resolve(response) : reject(error ?? new Error("no response")),
      );
    });
  let isDrained = false;
  const drain = async (): Promise<void> => {
    isDrained = true;
    await server.drain(2000);
  };
  t.after(async () => {
    for (const each of clients) each.close();
    if (!isDrained) await server.drain(200);
    rmSync(dir, { recursive: true });
  });
  return { path, call, drain, newClient, connections: () => opened };
}

async function codeOf(promise: Promise<unknown>): Promise<number | undefined> {
  try {
    await promise;
    return undefined;
  } catch (error) {
    return (error as ServiceError).code;
  }
}

test("KMS v2 and v1beta1 are served side by side, as bytes", async (t) => {
  const { call } = await start(t);
  for (const path of [
    methods.status,
    methods.encrypt,
    methods.decrypt,
    methods.v1Version,
    methods.v1Encrypt,
    methods.v1Decrypt,
  ])
    assert.equal((await call(path, Buffer.from([0xff, 1]))).toString("hex"), "ff01");
});

test("an unknown method or service is UNIMPLEMENTED, and the connection stays", async (t) => {
  const { call } = await start(t);
  assert.equal(await codeOf(call("/v2.KeyManagementService/Rotate", Buffer.alloc(0))), status.UNIMPLEMENTED);
  assert.equal(await codeOf(call(methods.decryptBatch, Buffer.alloc(0))), status.UNIMPLEMENTED);
  await call(methods.status, Buffer.alloc(0));
});

test("a message of 5 MiB is RESOURCE_EXHAUSTED, and the next one is served", async (t) => {
  const { call } = await start(t);
  assert.equal(await codeOf(call(methods.decrypt, Buffer.alloc(5 * 1024 * 1024))), status.RESOURCE_EXHAUSTED);
  await call(methods.status, Buffer.alloc(0));
});

test("an error is its row's code and constant message; an unexpected one shows nothing of itself", async (t) => {
  const fail =
    (error: Error): KmsMethod =>
    () =>
      Promise.reject(error);
  const { call } = await start(t, { encrypt: fail(new KmsError("key_missing")), decrypt: fail(new Error("hunter2")) });
  await assert.rejects(call(methods.encrypt, Buffer.alloc(1)), {
    code: status.NOT_FOUND,
    details: new KmsError("key_missing").message,
  });
  await assert.rejects(call(methods.decrypt, Buffer.alloc(1)), {
    code: status.INTERNAL,
    details: new KmsError("internal").message,
  });
});

test("more calls than allowed are RESOURCE_EXHAUSTED at once", async (t) => {
  const gate = Promise.withResolvers<void>();
  const held: KmsMethod = async () => {
    await gate.promise;
    return Buffer.alloc(0);
  };
  const { call, newClient } = await start(t, { decrypt: held }, { maxCalls: 4, maxConnections: 8 });
  // From a connection of its own: the first one's streams are all taken.
  const other = newClient();
  const first = Array.from({ length: 4 }, () => call(methods.decrypt, Buffer.alloc(1)));
  await wait(50);
  const began = Date.now();
  assert.equal(await codeOf(call(methods.status, Buffer.alloc(0), 2000, other)), status.RESOURCE_EXHAUSTED);
  assert.ok(Date.now() - began < 500);
  gate.resolve();
  await Promise.all(first);
});

test("the method is given less time than the caller has, in whole milliseconds", async (t) => {
  let given = 0;
  const { call } = await start(t, {
    status: (request, deadline) => {
      // Node refuses a part of a millisecond as a time-out.
      assert.ok(Number.isInteger(deadline), `${deadline}`);
      given = deadline - Date.now();
      return echo(request, deadline, new AbortController().signal);
    },
  });
  await call(methods.status, Buffer.alloc(0), 1000);
  assert.ok(given > 500 && given <= 800, `${given} ms`);
});

test("a wall clock that is set between a call's headers and its message leaves it its time", async (t) => {
  const given = Promise.withResolvers<number>();
  const { path } = await start(t, {
    status: (request, deadline) => {
      given.resolve(deadline - steadyNow());
      return echo(request, deadline, new AbortController().signal);
    },
  });
  const session = connectHttp2("http://localhost", { createConnection: () => connect(path) });
  t.after(() => session.close());
  const headers = { ":method": "POST", ":path": methods.status, "content-type": "application/grpc", te: "trailers" };
  const stream = session.request({ ...headers, "grpc-timeout": "1S" });
  await once(stream, "ready");
  // What was sent before a ping has been read when its answer is there.
  await new Promise((resolve) => session.ping(resolve));
  const right = Date.now;
  t.mock.method(Date, "now", () => right() + 7_200_000);
  stream.end(Buffer.alloc(5));
  const left = await given.promise;
  assert.ok(left > 500 && left <= 800, `${left} ms`);
  stream.close();
});

test("a caller that cancels is heard of", async (t) => {
  const gone = Promise.withResolvers<void>();
  const { call } = await start(t, {
    decrypt: (_request, _deadline, signal) =>
      new Promise((_, reject) => {
        signal.addEventListener("abort", () => {
          gone.resolve();
          reject(signal.reason as KmsError);
        });
      }),
  });
  assert.equal(await codeOf(call(methods.decrypt, Buffer.alloc(1), 100)), status.DEADLINE_EXCEEDED);
  await gone.promise;
});

test("the request and the response are zeroized once they are done with", async (t) => {
  const seen: Uint8Array[] = [];
  const { call } = await start(t, {
    encrypt: (request) => {
      const response = Buffer.from("secret");
      seen.push(request, response);
      return Promise.resolve(response);
    },
  });
  assert.equal((await call(methods.encrypt, Buffer.from("plain"))).toString(), "secret");
  await wait(5);
  assert.equal(Buffer.concat(seen).toString("hex"), "00".repeat(11));
});

test("draining finishes the call under way and takes no new connection", async (t) => {
  const gate = Promise.withResolvers<void>();
  const entered = Promise.withResolvers<void>();
  const { call, drain, path } = await start(t, {
    encrypt: async (request) => {
      entered.resolve();
      await gate.promise;
      return Buffer.from(request);
    },
  });
  const inFlight = call(methods.encrypt, Buffer.from("x"));
  await entered.promise;
  const drained = drain();
  const [error] = (await once(connect(path), "error")) as [NodeJS.ErrnoException];
  assert.match(error.code ?? "", /ENOENT|ECONNREFUSED/);
  gate.resolve();
  assert.equal((await inFlight).toString(), "x");
  await drained;
});

/** HTTP/2 as it is: a client that tries nothing again by itself. */
async function openRaw(t: TestContext, path: string) {
  const session = connectHttp2("http://localhost", { createConnection: () => connect(path) });
  session.on("error", () => {});
  t.after(() => session.destroy());
  const call = (): Promise<string> =>
    new Promise((resolve) => {
      const stream = session.request({
        ":method": "POST",
        ":path": methods.status,
        "content-type": "application/grpc",
        te: "trailers",
      });
      let result = "none";
      stream.on("trailers", (trailers: IncomingHttpHeaders) => {
        result = String(trailers["grpc-status"]);
      });
      stream.on("error", () => {});
      stream.on("close", () => resolve(result));
      stream.resume();
      stream.end(Buffer.alloc(5));
    });
  assert.equal(await call(), "0");
  return { session, call };
}

test("calls that had been sent, but not read, when draining began are served", async (t) => {
  const { drain, path } = await start(t);
  const { call } = await openRaw(t, path);
  const calls = Array.from({ length: 20 }, call);
  // Written by the client by now, and read by nobody: the server has had no turn.
  await new Promise<void>((resolve) => process.nextTick(resolve));
  const [results] = await Promise.all([Promise.all(calls), drain()]);
  assert.deepEqual(new Set(results), new Set(["0"]));
});

test("a caller that goes elsewhere as soon as it hears of the end loses no call, however busy", async (t) => {
  const { drain, path } = await start(t);
  const { session, call } = await openRaw(t, path);
  const results: string[] = [];
  let isGoing = false;
  session.once("goaway", () => {
    isGoing = true;
  });
  // Each next call leaves in the turn of the loop in which an answer was read: none waits in the
  // client while it hears of the end.
  const busy = async (): Promise<void> => {
    while (!isGoing) results.push(await call());
  };
  const callers = Array.from({ length: 8 }, busy);
  while (results.length < 100) await wait(1);
  await Promise.all([drain(), ...callers]);
  assert.deepEqual(new Set(results), new Set(["0"]));
});

test("connections that say nothing do not keep a kube-apiserver out, and one that speaks stays", async (t) => {
  const { call, path, newClient } = await start(t, {}, { maxCalls: 100, maxConnections: 4 });
  await call(methods.status, Buffer.alloc(0));
  const silentOnes = Array.from({ length: 3 }, () => connect(path).on("error", () => {}));
  await Promise.all(silentOnes.map((socket) => once(socket, "connect")));
  await wait(1100);
  await call(methods.status, Buffer.alloc(0), 2000, newClient());
  await call(methods.status, Buffer.alloc(0));
  for (const socket of silentOnes) socket.destroy();
});

test("garbage costs only the connection that sent it", async (t) => {
  const { call, path } = await start(t);
  const garbage = connect(path).on("error", () => {});
  garbage.write(Buffer.alloc(4096, "GET / HTTP/1.1\r\n\r\n"));
  garbage.resume();
  await once(garbage, "close");
  await call(methods.status, Buffer.alloc(0));
});

// Held: nothing answers in time. Prompt: every call is answered at its deadline, so that the ones which
// waited for its stream come at once.
for (const [name, decrypt] of [
  ["held", () => new Promise<never>(() => {})],
  [
    "prompt",
    (_request, _deadline, signal) =>
      once(signal, "abort").then(() => Promise.reject(new KmsError("deadline_exceeded"))),
  ],
] as const satisfies readonly (readonly [string, KmsMethod])[])
  test(`callers that give up by the thousand keep their connection (${name})`, async (t) => {
    const { call, newClient, connections } = await start(t, { decrypt }, { maxCalls: 4096, maxConnections: 8 });
    const client = newClient();
    // Connected first, so that all go over one connection.
    await call(methods.status, Buffer.from("x"), 20_000, client);
    const known = connections();
    for (let round = 0; round < 3; round += 1) {
      const given = Array.from({ length: 3000 }, () => codeOf(call(methods.decrypt, Buffer.from("x"), 300, client)));
      const codes = new Set(await Promise.all(given));
      codes.delete(status.DEADLINE_EXCEEDED);
      codes.delete(status.RESOURCE_EXHAUSTED);
      assert.deepEqual([...codes], []);
    }
    // Node.js lets go of a thousand streams within a turn or two.
    await until("Status", undefined, async () => {
      const code = await codeOf(call(methods.status, Buffer.from("x"), 20_000, client));
      return code === undefined ? true : undefined;
    });
    assert.equal(connections(), known);
  });

test("a stream that its caller resets at once costs nothing but itself, whatever it asked for", async (t) => {
  const { path, call } = await start(t);
  const session = connectHttp2("http://localhost", { createConnection: () => connect(path) });
  t.after(() => session.destroy());
  session.on("error", () => {});
  await once(session, "connect");
  // Both reach the server in one piece: the stream is gone when its headers are looked at.
  const reset = async (given: Readonly<Record<string, string>>): Promise<void> => {
    const stream = session.request({ ":method": "POST", ":path": methods.status, ...given }, { endStream: false });
    stream.on("error", () => {});
    stream.close();
    await once(stream, "close");
  };
  for (let i = 0; i < 20; i++) {
    await Promise.all([
      reset({ ":path": "/no.such/Method", "content-type": "application/grpc" }),
      reset({ "content-type": "text/plain" }),
      reset({ "content-type": "application/grpc" }),
    ]);
  }
  assert.equal((await call(methods.status, Buffer.from("alive"))).toString(), "alive");
});
