// What becomes of a request that cannot be served in time: refused before its body is read, with a reason
// that may be tried again, counted and recorded; a Status never is.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Readable } from "node:stream";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { create, toBinary } from "@bufbuild/protobuf";
import { createOverload, type Overload } from "@claviger/gateway-server/src/kms/overload.ts";
import { createMetrics } from "@claviger/gateway-server/src/metrics.ts";
import { KmsError, rowOf } from "@claviger/proto/wire/errors.ts";
import { BatchRequestSchema } from "@claviger/proto/gen/claviger/relay_pb.ts";
import * as v2 from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { headers, methods } from "@claviger/proto/wire/protocol.ts";
import { request } from "undici";
import { reversing, start } from "./harness.ts";

const encryptRequest = toBinary(
  v2.EncryptRequestSchema,
  create(v2.EncryptRequestSchema, { plaintext: Buffer.from("seed"), uid: "u" }),
);
const batchRequest = toBinary(
  BatchRequestSchema,
  create(BatchRequestSchema, { requests: [encryptRequest, encryptRequest] }),
);

/** A gateway that lets nobody in, and what its service was asked. */
function full() {
  const asked: string[] = [];
  const overload: Overload = {
    enter: ({ cluster }) => Promise.reject(new KmsError("overloaded", { cause: new Error(`no place for ${cluster}`) })),
    limit: () => 64,
  };
  const service = {
    ...reversing,
    encrypt: (...given: Parameters<typeof reversing.encrypt>) => {
      asked.push("encrypt");
      return reversing.encrypt(...given);
    },
  };
  return { overload, service, asked };
}

test("a refusal is retryable, recorded, costs no call and keeps the connection; a Status is answered", async (t) => {
  const { overload, service, asked } = full();
  const metrics = createMetrics();
  const { post, lines } = await start(t, { overload, service, metrics });
  const refused = await post(methods.encrypt, encryptRequest);
  assert.equal(refused.status, 429);
  assert.equal(refused.headers[headers.reason], "overloaded");
  assert.equal(refused.headers["connection"], "keep-alive");
  assert.equal(rowOf("overloaded").retryable, true);
  const answered = await post(methods.status, "");
  assert.equal(answered.status, 200);
  assert.deepEqual(asked, []);
  assert.deepEqual(
    lines.map(({ method, outcome, reason }) => ({ method, outcome, reason })),
    [
      { method: "encrypt", outcome: "failed", reason: "overloaded" },
      { method: "status", outcome: "ok", reason: undefined },
    ],
  );
  assert.match(
    await metrics.render(),
    /request_duration_count\{[^}]*method="encrypt"[^}]*result="overloaded"[^}]*\} 1/,
  );
});

test("a place is taken for as long as a request is worked on, for each call of a batch, and told how long it took", async (t) => {
  const told: (number | undefined)[] = [];
  let [inside, most] = [0, 0];
  const overload: Overload = {
    enter: () => {
      let own = 1;
      const count = (calls: number): void => {
        inside += calls;
        most = Math.max(most, inside);
      };
      count(1);
      return Promise.resolve({
        grow: (calls: number) => {
          own += calls;
          count(calls);
        },
        leave: (tookMs?: number) => {
          count(-own);
          told.push(tookMs);
        },
      });
    },
    limit: () => undefined,
  };
  const { post } = await start(t, { overload });
  assert.equal((await post(methods.encrypt, encryptRequest)).status, 200);
  assert.equal(most, 1);
  assert.equal((await post(methods.encryptBatch, batchRequest)).status, 200);
  assert.equal(most, 2);
  assert.equal((await post(methods.encrypt, "not a message")).status, 400);
  assert.equal(inside, 0, "all have left");
  assert.equal(told.length, 3);
  assert.ok(told.slice(0, 2).every((ms) => ms !== undefined && ms >= 0));
  assert.equal(told[2], undefined, "a failure says nothing of how long an answer takes");
});

test("who sends slowly does not make a gateway slow", async (t) => {
  const told: (number | undefined)[] = [];
  const overload: Overload = {
    enter: () => Promise.resolve({ grow: () => {}, leave: (ms) => void told.push(ms) }),
    limit: () => undefined,
  };
  const { base, agent } = await start(t, { overload });
  async function* slowly(): AsyncGenerator<Uint8Array> {
    yield encryptRequest.subarray(0, 3);
    await sleep(400);
    yield encryptRequest.subarray(3);
  }
  const began = performance.now();
  const reply = await request(`${base}${methods.encrypt}`, {
    method: "POST",
    dispatcher: agent,
    headers: { "content-type": "application/proto" },
    body: Readable.from(slowly()),
  });
  await reply.body.dump();
  assert.equal(reply.statusCode, 200);
  assert.ok(performance.now() - began >= 400);
  assert.ok((told[0] ?? Number.POSITIVE_INFINITY) < 300, `${told[0]} ms`);
});

test("a gateway that does little refuses nobody", async (t) => {
  const shed: string[] = [];
  const overload = createOverload({ onShed: (cause) => void shed.push(cause) });
  const { post } = await start(t, { overload });
  const replies = await Promise.all(Array.from({ length: 200 }, () => post(methods.encrypt, encryptRequest)));
  assert.ok(replies.every(({ status }) => status === 200));
  assert.deepEqual(shed, []);
});

test("a deadline counts from when the request can have come: what a busy loop reads late is not begun with", async (t) => {
  const { service, asked } = full();
  const { post } = await start(t, { service });
  await post(methods.status, "");
  const waiting = post(methods.encrypt, encryptRequest, { [headers.timeout]: "80" });
  // In one of these turns it is written, in the next one read.
  for (let i = 0; i < 6; i += 1) {
    await nextTurn();
    const until = performance.now() + 90;
    while (performance.now() < until);
  }
  const reply = await waiting;
  assert.equal(reply.status, 504);
  assert.equal(reply.headers[headers.reason], "deadline_exceeded");
  assert.deepEqual(asked, []);
  assert.equal((await post(methods.encrypt, encryptRequest, { [headers.timeout]: "2000" })).status, 200);
});
