// A caller that leaves, at each point of a request: no key material stays, no gauge stays up, no
// work goes on for it, others are served, and the record says what became of the request.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test, type TestContext } from "node:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { BatchRequestSchema } from "@claviger/proto/gen/claviger/relay_pb.ts";
import { headers, methods } from "@claviger/proto/wire/protocol.ts";
import { until } from "../../../../lab/process-group.ts";
import { type Caller, connectCaller, decryptOf, encryptOf, isZero, requestOf, startLeavable } from "./leaver.ts";

async function prepare(t: TestContext) {
  const secret = randomBytes(32);
  const gateway = await startLeavable(t, { secret });
  const { ciphertext, keyId } = await gateway.encrypt(secret);
  gateway.forget();
  /** Calls of others, who stay. */
  const others: Promise<void>[] = [];
  let staying = 0;
  const stay = async (): Promise<void> => {
    staying += 1;
    assert.deepEqual(await gateway.decrypt(ciphertext, keyId), secret, "who stays is answered");
    staying -= 1;
  };
  return {
    ...gateway,
    secret,
    ciphertext,
    keyId,
    others,
    /** Another caller's Decrypt. */
    stay: () => void others.push(stay()),
    staying: () => staying,
    /** Of the caller that leaves. */
    decryptBody: (uid?: string): Uint8Array => decryptOf(ciphertext, keyId, uid),
  };
}
type World = Awaited<ReturnType<typeof prepare>>;

type Row = {
  readonly point: string;
  /** Sends what is sent, and resolves when the gateway has come to the point. */
  readonly reach: (world: World, caller: Caller) => Promise<unknown>;
  /** Requests of the caller that have begun, each with a record. */
  readonly requests: number;
  /** What their records say. */
  readonly reason: "canceled" | undefined;
  /** Items of each call that the backend is given until then, and whether the last one is aborted. */
  readonly calls?: readonly number[];
  readonly isAborted?: boolean;
  /** No byte of the secret has been sent or made yet. */
  readonly isWithoutSecret?: boolean;
  readonly isReset?: boolean;
};

/** Sends a request that the backend is asked for, and is not answered. */
function askBackend(path: string, bodyOf: (world: World) => Uint8Array): Row["reach"] {
  return async ({ gates, ...world }, { tls }) => {
    gates.backend.isShut = true;
    tls.write(requestOf(path, bodyOf({ gates, ...world })));
    await gates.backend.reached(1);
  };
}

function batchOf(world: World): Uint8Array {
  const requests = Array.from({ length: 5 }, (_, i) => world.decryptBody(`leaver-${i}`));
  return toBinary(BatchRequestSchema, create(BatchRequestSchema, { requests }));
}

const rows: readonly Row[] = [
  {
    point: "after the handshake, before it asks anything",
    reach: () => Promise.resolve(),
    requests: 0,
    reason: undefined,
    isWithoutSecret: true,
  },
  {
    point: "in the middle of the headers",
    reach: async (_, { tls }) => {
      const half = requestOf(methods.encrypt, Buffer.alloc(0)).subarray(0, 60);
      await new Promise((resolve) => tls.write(half, resolve));
    },
    requests: 0,
    reason: undefined,
    isWithoutSecret: true,
  },
  {
    point: "after the headers, before the body",
    reach: async ({ waitForInFlight }, { tls }) => {
      tls.write(requestOf(methods.encrypt, Buffer.alloc(0), { "content-length": "60" }));
      await waitForInFlight(1);
    },
    requests: 1,
    reason: "canceled",
    isWithoutSecret: true,
  },
  {
    point: "in the middle of the body",
    reach: async ({ secret, waitForSecret }, { tls }) => {
      const body = encryptOf(secret);
      tls.write(requestOf(methods.encrypt, body.subarray(0, -4), { "content-length": String(body.length) }));
      await waitForSecret();
    },
    requests: 1,
    reason: "canceled",
  },
  {
    point: "while the registry is read again for it",
    reach: async ({ secret, gates, waitForSecret }, { tls }) => {
      gates.registry.isShut = true;
      tls.write(requestOf(methods.encrypt, encryptOf(secret), { [headers.epoch]: "1.1000.1" }));
      await gates.registry.reached(1);
      await waitForSecret();
    },
    requests: 1,
    reason: "canceled",
  },
  {
    point: "while the key is read again for it",
    reach: async ({ secret, gates }, { tls }) => {
      gates.key.isShut = true;
      tls.write(requestOf(methods.encrypt, encryptOf(secret), { [headers.epoch]: "0.1000.2" }));
      await gates.key.reached(1);
    },
    requests: 1,
    reason: "canceled",
  },
  {
    point: "while its Decrypt waits for the batch before",
    reach: async ({ gates, stay, decryptBody, waitForInFlight }, { tls }) => {
      gates.backend.isShut = true;
      stay();
      await gates.backend.reached(1);
      tls.write(requestOf(methods.decrypt, decryptBody()));
      await waitForInFlight(2);
    },
    requests: 1,
    reason: "canceled",
    calls: [1],
  },
  {
    point: "while its Encrypt is at the backend",
    reach: askBackend(methods.encrypt, ({ secret }) => encryptOf(secret)),
    requests: 1,
    reason: "canceled",
    calls: [1],
    isAborted: true,
  },
  {
    point: "with a reset while its Decrypt is at the backend",
    reach: askBackend(methods.decrypt, ({ decryptBody }) => decryptBody()),
    requests: 1,
    reason: "canceled",
    calls: [1],
    isAborted: true,
    isReset: true,
  },
  {
    point: "while the five items of its DecryptBatch are at the backend",
    reach: askBackend(methods.decryptBatch, batchOf),
    requests: 1,
    reason: "canceled",
    calls: [5],
    isAborted: true,
  },
  {
    point: "while its Decrypt is at the backend together with another caller's",
    reach: async ({ gates, stay, decryptBody, waitForInFlight }, { tls }) => {
      gates.backend.isShut = true;
      stay();
      await gates.backend.reached(1);
      stay();
      tls.write(requestOf(methods.decrypt, decryptBody()));
      await waitForInFlight(3);
      gates.backend.next();
      await gates.backend.reached(1);
      await waitForInFlight(2);
    },
    requests: 1,
    reason: "canceled",
    calls: [1, 2],
  },
  {
    point: "while a second request waits on its connection behind the first",
    reach: async ({ secret, gates, decryptBody, waitForSecret, waitForInFlight }, { tls }) => {
      gates.backend.isShut = true;
      tls.write(requestOf(methods.decrypt, decryptBody()));
      await gates.backend.reached(1);
      tls.write(requestOf(methods.encrypt, encryptOf(secret)));
      await waitForInFlight(2);
      await waitForSecret();
    },
    requests: 2,
    reason: "canceled",
    calls: [1, 1],
    isAborted: true,
  },
  {
    point: "while its record is being written, after the result was made",
    reach: async ({ gates, decryptBody }, { tls }) => {
      gates.audit.isShut = true;
      tls.write(requestOf(methods.decrypt, decryptBody()));
      await gates.audit.reached(1);
    },
    requests: 1,
    reason: undefined,
    calls: [1],
  },
];

/** Below every deadline and time-out in the gateway. */
const soonMs = 700;

for (const row of rows)
  test(`a caller leaves ${row.point}`, async (t) => {
    const world = await prepare(t);
    const { backendCalls, gates, seen, gauges, records, others } = world;
    const caller = await connectCaller(t, world.port);
    await row.reach(world, caller);
    assert.equal((await gauges()).inFlight, row.requests + world.staying(), "it is under way");
    const reads = world.keyReads();

    if (row.isReset === true) caller.tcp.resetAndDestroy();
    else caller.tls.destroy();

    // What is canceled ends now, and not when whatever it waits for does.
    if (gates.audit.isShut) gates.audit.open();
    const isOver = async (): Promise<true | undefined> => {
      const { inFlight, connections } = await gauges();
      return inFlight === world.staying() && connections <= others.length + 1 ? true : undefined;
    };
    await until("the request to end", undefined, isOver, soonMs);
    assert.deepEqual(
      backendCalls.map(({ items }) => items),
      row.calls ?? [],
    );
    if (backendCalls.length > 0) assert.equal(backendCalls.at(-1)?.signal.aborted, row.isAborted ?? false);

    for (const gate of Object.values(gates)) gate.open();
    await Promise.all(others);
    const own = await until("the records", undefined, () => {
      const lines = records();
      return lines.length === row.requests ? lines : undefined;
    });
    for (const line of own) {
      assert.equal(line.reason, row.reason);
      assert.equal(line.outcome, row.reason === undefined ? "ok" : "failed");
      for (const call of line.calls ?? []) assert.equal(call.reason, row.reason, "and so does each item");
    }
    await until("the gauges to be level", undefined, async () => ((await gauges()).inFlight === 0 ? true : undefined));
    assert.equal(world.keyReads(), reads, "no key is read for it");
    assert.equal(seen.heldSecret, row.isWithoutSecret !== true);
    for (const bytes of seen.buffers) assert.ok(isZero(bytes), "a buffer is not zeroized");

    assert.deepEqual(await world.decrypt(world.ciphertext, world.keyId), world.secret, "others are served");
    assert.equal(records().length, row.requests, "one record each");
  });
