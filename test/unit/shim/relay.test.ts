import assert from "node:assert/strict";
import { setImmediate as nextTurn, setTimeout as wait } from "node:timers/promises";
import { test, type TestContext } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { fromBinary } from "@bufbuild/protobuf";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { BatchRequestSchema } from "@claviger/proto/gen/claviger/relay_pb.ts";
import { limits, livezPath } from "@claviger/proto/wire/protocol.ts";
import { createRelay } from "@claviger/shim/src/relay.ts";
import type { UpstreamReply } from "@claviger/shim/src/gateway.ts";
import { createUpstream } from "@claviger/shim/src/upstream.ts";
import type { Upstream } from "@claviger/shim/src/upstream.ts";
import type { UpstreamCall } from "@claviger/shim/src/gateway.ts";
import {
  batchAnswer,
  createFleet,
  decryptAnswer,
  decryptRequest,
  createFakeUpstream,
  noMetrics,
  plaintextOf,
  reasonOf,
  reply,
  startGateway,
} from "./fakes.ts";

const epochs = { epoch: () => undefined, accept: () => {} };

/** Decrypts through a relay. */
function createDecrypts(upstream: Upstream) {
  const relay = createRelay("decrypt", { upstream, metrics: noMetrics, epochs });
  return {
    decrypt: async (request: Buffer, identity: readonly Uint8Array[], deadline: number, signal: AbortSignal) =>
      (await relay.call(request, deadline, signal, identity)).body,
  };
}

function answer({ method, body }: UpstreamCall): UpstreamReply {
  return reply(method === "decryptBatch" ? batchAnswer(body) : decryptAnswer(body));
}
function soon(): number {
  return Date.now() + 2000;
}
const stay = new AbortController().signal;
/** What has been asked for by now has been sent. */
function sent(): Promise<void> {
  return nextTurn();
}

/** Decrypts whose upstream answers nothing until it is opened, and everything from then on. */
function gated() {
  const gate = Promise.withResolvers<void>();
  const upstream = createFakeUpstream(async (call) => {
    await gate.promise;
    return answer(call);
  });
  const decrypts = createDecrypts(upstream);
  const decrypt = (
    ciphertext: string,
    deadline = soon(),
    signal = stay,
    request = decryptRequest(ciphertext),
  ): Promise<Buffer> => decrypts.decrypt(request, [Buffer.from(ciphertext)], deadline, signal);
  const open = (): void => gate.resolve();
  return { upstream, decrypt, open };
}

test("200 identical Decrypts at once are one request, and each caller has a copy of its own", async () => {
  const { upstream, decrypt, open } = gated();
  const all = Array.from({ length: 200 }, () => decrypt("seed"));
  open();
  const responses = await Promise.all(all);
  assert.equal(upstream.calls.length, 1);
  responses[0]?.fill(0);
  for (const response of responses.slice(1)) assert.equal(plaintextOf(response), "dees");
});

test("an answer stays a moment for who is just asking the same; then it is zeroized and the next Decrypt asks again", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const upstreams: Buffer[] = [];
  const upstream = createFakeUpstream((call) => {
    const given = answer(call);
    upstreams.push(given.body);
    return Promise.resolve(given);
  });
  const decrypts = createDecrypts(upstream);
  const decrypt = (): Promise<Buffer> => decrypts.decrypt(decryptRequest("seed"), [Buffer.from("seed")], soon(), stay);
  assert.equal(plaintextOf(await decrypt()), "dees");
  assert.equal(plaintextOf(await decrypt()), "dees");
  assert.equal(upstreams.length, 1);
  t.mock.timers.tick(50);
  await Promise.resolve();
  assert.deepEqual(upstreams[0], Buffer.alloc(upstreams[0]?.length ?? 0));
  assert.equal(plaintextOf(await decrypt()), "dees");
  assert.equal(upstreams.length, 2);
});

test("different Decrypts that wait travel together, and the first of an idle shim does not wait", async () => {
  const { upstream, decrypt, open } = gated();
  const first = decrypt("a0");
  await sent();
  assert.deepEqual(
    upstream.calls.map(({ method }) => method),
    ["decrypt"],
  );
  const rest = Array.from({ length: 10 }, (_, i) => decrypt(`b${i}`));
  open();
  assert.equal(plaintextOf(await first), "0a");
  assert.deepEqual(
    (await Promise.all(rest)).map(plaintextOf),
    rest.map((_, i) => `${i}b`),
  );
  assert.deepEqual(
    upstream.calls.map(({ method }) => method),
    ["decrypt", "decryptBatch"],
  );
});

test("Encrypts that wait travel together, the same plaintext twice is two, and nothing of them stays in a message", async () => {
  const gate = Promise.withResolvers<void>();
  const bodies: Uint8Array[] = [];
  const asked: UpstreamCall[] = [];
  const upstream = createFakeUpstream(async (call) => {
    bodies.push(call.body);
    asked.push(call);
    await gate.promise;
    return reply(call.method === "encryptBatch" ? batchAnswer(call.body) : decryptAnswer(call.body), {
      epoch: { text: "1.2.3" },
    });
  });
  const relay = createRelay("encrypt", { upstream, metrics: noMetrics, epochs });
  // What is asked of the relay means nothing to it.
  const encrypt = (text: string) => relay.call(decryptRequest(text), soon(), stay);
  const all = [encrypt("a0")];
  await sent();
  all.push(...["same", "same", "other"].map(encrypt));
  gate.resolve();
  const answers = await Promise.all(all);
  assert.deepEqual(
    answers.map(({ body, epoch }) => [plaintextOf(body), epoch?.text]),
    ["0a", "emas", "emas", "rehto"].map((text) => [text, "1.2.3"]),
  );
  assert.deepEqual(
    asked.map(({ method, hedge }) => [method, hedge]),
    [
      ["encrypt", false],
      ["encryptBatch", false],
    ],
  );
  assert.deepEqual(Buffer.from(bodies[1] ?? []), Buffer.alloc(bodies[1]?.length ?? 0));
});

test("one bad item of a batch fails alone", async () => {
  const { decrypt, open } = gated();
  const first = decrypt("first");
  await sent();
  const [good, bad] = [decrypt("good"), reasonOf(decrypt("bad"))];
  open();
  await first;
  assert.equal(plaintextOf(await good), "doog");
  assert.equal(await bad, "ciphertext_invalid");
});

test("a gateway that knows no batches is asked one by one", async () => {
  const upstream = createFakeUpstream(async (call) => {
    await wait(2);
    if (call.method === "decryptBatch") throw new KmsError("method_unknown");
    return answer(call);
  });
  const decrypts = createDecrypts(upstream);
  const all = ["aa", "ab", "ac"].map((text) =>
    decrypts.decrypt(decryptRequest(text), [Buffer.from(text)], soon(), stay),
  );
  assert.deepEqual((await Promise.all(all)).map(plaintextOf), ["aa", "ba", "ca"]);
});

test("a caller's deadline ends that caller alone, and its zeroized request harms no other", async () => {
  const { upstream, decrypt, open } = gated();
  const blocker = decrypt("blocker");
  await sent();
  const request = decryptRequest("seed");
  const hurried = reasonOf(decrypt("seed", Date.now() + 10, stay, request));
  const patient = decrypt("seed");
  assert.equal(await hurried, "deadline_exceeded");
  request.fill(0);
  open();
  await blocker;
  assert.equal(plaintextOf(await patient), "dees");
  assert.ok((upstream.calls[1]?.deadline ?? 0) > Date.now() + 1000, "the latest deadline of the callers goes along");
});

test("a caller that goes away ends alone; what nobody waits for is never sent", async () => {
  const { upstream, decrypt, open } = gated();
  const blocker = decrypt("blocker");
  await sent();
  const leaver = new AbortController();
  const [left, leftAlone] = [
    reasonOf(decrypt("shared", soon(), leaver.signal)),
    reasonOf(decrypt("alone", soon(), leaver.signal)),
  ];
  const stays = decrypt("shared");
  leaver.abort();
  assert.deepEqual([await left, await leftAlone], ["canceled", "canceled"]);
  open();
  await blocker;
  assert.equal(plaintextOf(await stays), "derahs");
  assert.equal(upstream.calls.length, 2);
  assert.equal(upstream.calls[1]?.method, "decrypt");
});

test("what was given up before it was sent is asked anew by whoever comes next", async () => {
  const { decrypt, open } = gated();
  const blocker = decrypt("blocker");
  await sent();
  const leaver = new AbortController();
  const left = reasonOf(decrypt("seed", soon(), leaver.signal));
  leaver.abort();
  assert.equal(await left, "canceled");
  const next = decrypt("seed");
  open();
  await blocker;
  assert.equal(plaintextOf(await next), "dees");
});

test("what was given up before it was sent holds no memory, though every request under way hangs", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const { upstream, decrypt, open } = gated();
  const late = Date.now() + 30_000;
  const hanging: Promise<Buffer>[] = [];
  while (upstream.calls.length < 4) {
    hanging.push(decrypt(`hanging${hanging.length}`, late));
    const before = upstream.calls.length;
    while (upstream.calls.length === before) await wait(2);
  }
  const heldBytes = (): number => {
    collect();
    return process.memoryUsage().arrayBuffers;
  };
  const before = heldBytes();
  const long = "u".repeat(100_000);
  for (let round = 0; round < 20; round += 1) {
    const gone = new AbortController();
    const left = Array.from({ length: 10 }, (_, i) =>
      reasonOf(decrypt(`r${round}.${i}`, late, gone.signal, decryptRequest(`r${round}.${i}`, long))),
    );
    gone.abort();
    await Promise.all(left);
  }
  // The collector gives buffers back in its own time.
  let growth = heldBytes() - before;
  for (let look = 0; look < 100 && growth > 5_000_000; look += 1) {
    await wait(5);
    growth = heldBytes() - before;
  }
  open();
  await Promise.all(hanging);
  assert.ok(growth <= 5_000_000, `${growth} of 20,000,000 bytes are still held`);
});

/** The end of a first caller's time, at an upstream that answers its first call never. */
const upstreams: Readonly<Record<string, (t: TestContext) => Promise<{ upstream: Upstream; calls: () => number }>>> = {
  "the fake upstream": () => {
    const upstream = createFakeUpstream((call) =>
      upstream.calls.length === 1 ? endOf(call.signal ?? stay) : Promise.resolve(answer(call)),
    );
    return Promise.resolve({ upstream, calls: () => upstream.calls.length });
  },
  "an upstream of one gateway": async (t) => {
    const fleet = await createFleet();
    const gateway = await startGateway(t, fleet, async ({ path, body }) => {
      if (path === livezPath) return {};
      if (gateway.asked.length === 1) await endOf(stay);
      return { body: decryptAnswer(body) };
    });
    const upstream = createUpstream([gateway.url], fleet.tls, noMetrics);
    t.after(() => upstream.close());
    return { upstream, calls: () => gateway.asked.length };
  },
};

/** Rejects as the shim's upstream does when its call is aborted. */
function endOf(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener("abort", () => reject(new KmsError("gateway_unavailable")), { once: true });
  });
}

for (const [name, make] of Object.entries(upstreams))
  test(`with ${name}, who joined a request that ran out of its first caller's time goes again`, async (t) => {
    const { upstream, calls } = await make(t);
    const decrypts = createDecrypts(upstream);
    const decrypt = (deadline: number) =>
      decrypts.decrypt(decryptRequest("seed"), [Buffer.from("seed")], deadline, stay);
    const hurried = reasonOf(decrypt(Date.now() + 500));
    while (calls() === 0) await wait(1);
    const patient = decrypt(Date.now() + 30_000);
    assert.notEqual(await hurried, undefined);
    assert.equal(plaintextOf(await patient), "dees");
    assert.equal(calls(), 2);
  });

test("a request ends at the gateway when its last caller has left", async () => {
  const ended = Promise.withResolvers<void>();
  const upstream = createFakeUpstream(({ signal }) => endOf(signal ?? stay).finally(() => ended.resolve()));
  const decrypts = createDecrypts(upstream);
  const leaver = new AbortController();
  const left = reasonOf(decrypts.decrypt(decryptRequest("seed"), [Buffer.from("seed")], soon(), leaver.signal));
  await sent();
  leaver.abort();
  await ended.promise;
  assert.equal(await left, "canceled");
});

test("a batch holds at most 64 items and never more bytes than a gateway takes", async () => {
  const { upstream, decrypt, open } = gated();
  const first = decrypt("first");
  await sent();
  const long = "u".repeat(limits.message - 100);
  const big = Array.from({ length: 20 }, (_, i) => decrypt(`x${i}`, soon(), stay, decryptRequest(`x${i}`, long)));
  const small = Array.from({ length: 100 }, (_, i) => decrypt(`y${i}`));
  open();
  await Promise.all([first, ...big, ...small]);
  const batches = upstream.calls.filter(({ method }) => method === "decryptBatch");
  assert.ok(batches.length >= 4);
  for (const { body } of batches) {
    assert.ok(body.length <= limits.batchMessage, `${body.length} bytes`);
    assert.ok(fromBinary(BatchRequestSchema, body).requests.length <= limits.batchItems);
  }
});

test("a batch reply of another length fails its callers and gives nobody another's plaintext", async () => {
  const upstream = createFakeUpstream(async (call) => {
    await wait(2);
    return call.method === "decryptBatch" ? reply(new Uint8Array(0)) : answer(call);
  });
  const decrypts = createDecrypts(upstream);
  const decrypt = (text: string) => decrypts.decrypt(decryptRequest(text), [Buffer.from(text)], soon(), stay);
  const first = decrypt("first");
  await sent();
  const results = [reasonOf(decrypt("a")), reasonOf(decrypt("b"))];
  await first;
  assert.deepEqual(await Promise.all(results), ["gateway_unavailable", "gateway_unavailable"]);
});
