import assert from "node:assert/strict";
import { setTimeout as wait } from "node:timers/promises";
import { test, type TestContext } from "node:test";
import { steadyNow } from "@claviger/proto/runtime/clock.ts";
import { headers, methods } from "@claviger/proto/wire/protocol.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { createUpstream } from "@claviger/shim/src/upstream.ts";
import type { Upstream } from "@claviger/shim/src/upstream.ts";
import type { Answered, UpstreamCall } from "@claviger/shim/src/gateway.ts";
import { type Answer, createFleet, noMetrics, reasonOf, startGateway } from "./fakes.ts";

const fleet = await createFleet();
const ok = { body: Buffer.from("ok") };
function call(change: Partial<UpstreamCall> = {}): UpstreamCall {
  return {
    method: "decrypt",
    body: Buffer.from("body"),
    deadline: steadyNow() + 2000,
    hedge: false,
    ...change,
  };
}
function upstreamTo(t: TestContext, ...urls: readonly string[]): Upstream {
  const upstream = createUpstream(urls, fleet.tls, noMetrics);
  t.after(() => upstream.close());
  return upstream;
}
/** An address where nobody listens. */
async function goneUrl(t: TestContext): Promise<string> {
  const { url, stop } = await startGateway(t, fleet, () => ok);
  await stop();
  return url;
}

/** Opaque to a shim. */
const mac = "m".repeat(43);

test("a call is a Connect request with the caller's time left and the highest epoch", async (t) => {
  const { url, asked } = await startGateway(t, fleet, () => ({
    ...ok,
    headers: { [headers.epoch]: "0.2.2", [headers.epochMac]: mac, [headers.staleSince]: "7", [headers.staleFor]: "9" },
  }));
  const reply = await upstreamTo(t, url).call(call({ epoch: { text: "0.1.1", mac } }));
  assert.deepEqual([reply.body.toString(), reply.epoch, reply.staleForMs], ["ok", { text: "0.2.2", mac }, 9]);
  assert.equal(asked[0]?.path, methods.decrypt);
  assert.equal(asked[0].body.toString(), "body");
  assert.equal(asked[0].headers["content-type"], "application/proto");
  assert.equal(asked[0].headers["connect-protocol-version"], "1");
  assert.deepEqual([asked[0].headers[headers.epoch], asked[0].headers[headers.epochMac]], ["0.1.1", mac]);
  const timeout = Number(asked[0].headers[headers.timeout]);
  assert.ok(timeout > 1000 && timeout <= 2000, `${timeout}`);
});

test("a gateway's refusal is final: no other gateway is asked", async (t) => {
  let answer: Answer = ok;
  const gateways = await Promise.all([1, 2].map(() => startGateway(t, fleet, () => answer)));
  const upstream = upstreamTo(t, ...gateways.map(({ url }) => url));
  const asked = (): number => gateways.flatMap((gateway) => gateway.asked).length;
  // Beside one that is not known yet another is asked soon.
  while (gateways.some((gateway) => gateway.asked.length === 0)) await upstream.call(call());
  const before = asked();
  answer = { reason: "cluster_suspended" };
  assert.equal(await reasonOf(upstream.call(call())), "cluster_suspended");
  assert.equal(asked() - before, 1);
});

test("an answer that is not accepted is asked of another gateway", async (t) => {
  const old = await startGateway(t, fleet, () => ({ ...ok, headers: { [headers.epoch]: "0.1.1" } }));
  const unaware = await startGateway(t, fleet, () => ({
    reason: "ciphertext_invalid",
    headers: { [headers.epoch]: "0.1.1" },
  }));
  const good = await startGateway(t, fleet, () => ({ ...ok, headers: { [headers.epoch]: "1.2.2" } }));
  const accept = ({ epoch }: Answered): void => {
    if (epoch?.text === "0.1.1") throw new KmsError("gateway_behind");
  };
  for (const behind of [old, unaware]) {
    // Which one is asked first is chance: each shim begins with one that it does not know yet.
    for (let shims = 0; shims < 50 && behind.asked.length === 0; shims += 1) {
      const upstream = upstreamTo(t, behind.url, good.url);
      assert.equal((await upstream.call(call({ accept }))).epoch?.text, "1.2.2");
    }
    assert.ok(behind.asked.length > 0);
  }
});

test("an outage at one gateway is answered by another, whatever its kind", async (t) => {
  const bad = await startGateway(t, fleet, () => ({ status: 502, body: Buffer.from("<html>") }));
  const behind = await startGateway(t, fleet, () => ({ reason: "gateway_behind" }));
  const good = await startGateway(t, fleet, () => ok);
  const upstream = upstreamTo(t, await goneUrl(t), bad.url, behind.url, good.url);
  for (let i = 0; i < 5; i += 1) assert.equal((await upstream.call(call())).body.toString(), "ok");
});

test("a reason that no authenticated gateway gave is an outage, not a refusal", async (t) => {
  const foreign = await createFleet();
  const impostor = await startGateway(t, { ...foreign, ca: fleet.ca }, () => ({ reason: "cluster_suspended" }));
  const reason = await reasonOf(upstreamTo(t, impostor.url).call(call({ deadline: steadyNow() + 300 })));
  // On a busy machine the deadline comes in the middle of a handshake.
  assert.ok(reason === "gateway_unavailable" || reason === "deadline_exceeded", reason);
  assert.equal(impostor.asked.length, 0);
});

test("a dead fleet is an error inside the deadline, and the retries have a budget", async (t) => {
  const gateway = await startGateway(t, fleet, () => ({ reason: "backend_unavailable" }));
  const upstream = upstreamTo(t, gateway.url);
  const began = steadyNow();
  const results = await Promise.all(
    Array.from({ length: 20 }, () => reasonOf(upstream.call(call({ deadline: steadyNow() + 2500 })))),
  );
  assert.ok(steadyNow() - began < 3000);
  assert.deepEqual([...new Set(results)], ["backend_unavailable"]);
  assert.ok(gateway.asked.length <= 20 + 25, `${gateway.asked.length} requests for 20 calls`);
});

test("a second gateway is asked when the first dawdles, for calls that may be hedged", async (t) => {
  const open = Promise.withResolvers<void>();
  t.after(() => open.resolve());
  const slow = await startGateway(t, fleet, async () => {
    await open.promise;
    return ok;
  });
  const quick = await startGateway(t, fleet, () => ok);
  const upstream = upstreamTo(t, slow.url, quick.url);
  for (let i = 0; i < 6; i += 1) {
    const began = steadyNow();
    await upstream.call(call({ hedge: true }));
    assert.ok(steadyNow() - began < 900, `${steadyNow() - began} ms`);
  }
});

test("a hanging gateway does not hold a call beyond its deadline", async (t) => {
  const open = Promise.withResolvers<void>();
  t.after(() => open.resolve());
  const hanging = await startGateway(t, fleet, async () => {
    await open.promise;
    return ok;
  });
  const began = steadyNow();
  assert.notEqual(await reasonOf(upstreamTo(t, hanging.url).call(call({ deadline: steadyNow() + 200 }))), undefined);
  assert.ok(steadyNow() - began < 600);
});

test("nothing is tried again for a caller that went away", async (t) => {
  const gateway = await startGateway(t, fleet, () => ({ reason: "backend_unavailable" }));
  const leaver = new AbortController();
  leaver.abort();
  assert.notEqual(await reasonOf(upstreamTo(t, gateway.url).call(call({ signal: leaver.signal }))), undefined);
  assert.ok(gateway.asked.length <= 1);
});

test("gateways and certificates are replaced with no call lost", async (t) => {
  const answer = async () => {
    await wait(3);
    return ok;
  };
  const [one, two] = [await startGateway(t, fleet, answer), await startGateway(t, fleet, answer)];
  const upstream = upstreamTo(t, one.url);
  const renewed = await createFleet(fleet.ca);
  let isOver = false;
  const calls = Array.from({ length: 8 }, () => 0);
  const load = async (worker: number): Promise<void> => {
    while (!isOver) {
      assert.equal((await upstream.call(call())).body.toString(), "ok");
      calls[worker] = (calls[worker] ?? 0) + 1;
    }
  };
  // Not by the clock: every worker has been served under a list before the next one comes.
  const served = async (): Promise<void> => {
    const before = [...calls];
    while (calls.some((count, worker) => count < (before[worker] ?? 0) + 3)) await wait(2);
  };
  const work = Promise.all(calls.map((_, worker) => load(worker)));
  const change = async (): Promise<void> => {
    await served();
    for (const url of [two.url, one.url, two.url]) {
      upstream.configure([url], renewed.tls);
      await served();
    }
    isOver = true;
  };
  // A call that is lost ends the work with its error before the changes are through.
  await Promise.race([change(), work]);
  await work;
  assert.ok(two.asked.length > 0);
  // Nor was any cut off and sent a second time, which a retry would hide.
  assert.equal(
    one.asked.length + two.asked.length,
    calls.reduce((sum, count) => sum + count, 0),
  );
});
