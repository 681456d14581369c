import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { steadyMs } from "@claviger/proto/runtime/end-reports.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { KmsError, type Reason } from "@claviger/proto/wire/errors.ts";
import type { LastGood } from "@claviger/shim/src/state-file.ts";
import { createSteadyClock } from "@claviger/proto/runtime/clock.ts";
import { createStateFile } from "@claviger/shim/src/state-file.ts";
import { createStatusKeeper } from "@claviger/shim/src/status.ts";
import type { UpstreamReply } from "@claviger/shim/src/gateway.ts";
import { pino } from "pino";
import { createFakeUpstream, createFakeStateFile, reasonOf, reply, silent, statusBytes } from "./fakes.ts";

const minute = 60_000;

/** A keeper with ten minutes of phase one and an hour of phase two, on a clock of its own. */
function keeperAt(start: number, first?: LastGood, log: Log = silent) {
  const world = { now: start, next: (): UpstreamReply => reply(statusBytes("key-1"), { epoch: { text: "0.1.1" } }) };
  const upstream = createFakeUpstream(() => world.next());
  const stateFile = createFakeStateFile(first);
  const now = () => world.now;
  const keeper = createStatusKeeper({
    upstream,
    stateFile,
    grace: () => ({ healthyForMs: 10 * minute, degradedForMs: 60 * minute }),
    log,
    now,
  });
  return { world, upstream, stateFile, keeper };
}
function failWith(reason: Reason) {
  return (): UpstreamReply => {
    throw new KmsError(reason);
  };
}
const T = 1_700_000_000_000;

test("a good Status passes through, and is remembered", async () => {
  const { keeper, stateFile } = keeperAt(T);
  const { healthz, keyId, version } = await keeper.status();
  assert.deepEqual({ healthz, keyId, version }, { healthz: "ok", keyId: "key-1", version: "v2" });
  assert.deepEqual(stateFile.saved, { keyId: "key-1", epoch: { text: "0.1.1" }, goodAt: T });
});

test("with no gateway Status is ok, then names the cause, then is an error; then ok again", async () => {
  const { keeper, world } = keeperAt(T);
  await keeper.status();
  const good = world.next;
  world.next = failWith("gateway_unavailable");
  world.now = T + 9 * minute;
  assert.equal((await keeper.status()).healthz, "ok");
  assert.equal(keeper.outage().phase, 1);
  world.now = T + 11 * minute;
  const { healthz, keyId } = await keeper.status();
  assert.match(healthz, /^claviger: no gateway can be reached/);
  assert.ok(healthz.length <= 256 && !healthz.includes("\n"));
  assert.equal(keyId, "key-1");
  assert.equal(keeper.outage().phase, 2);
  world.now = T + 71 * minute;
  assert.equal(await reasonOf(keeper.status()), "gateway_unavailable");
  assert.equal(keeper.outage().phase, 3);
  world.next = good;
  assert.equal((await keeper.status()).healthz, "ok");
  assert.equal(keeper.outage().phase, 0);
});

test("a restarted shim goes on where it was", async () => {
  const { keeper, world } = keeperAt(T + 11 * minute, { keyId: "key-1", epoch: { text: "0.1.1" }, goodAt: T });
  world.next = failWith("gateway_unavailable");
  const { healthz, keyId } = await keeper.status();
  assert.notEqual(healthz, "ok");
  assert.equal(keyId, "key-1");
});

test("with no gateway and nothing remembered Status is an error", async () => {
  const { keeper, world } = keeperAt(T);
  world.next = failWith("gateway_unavailable");
  assert.equal(await reasonOf(keeper.status()), "gateway_unavailable");
});

for (const reason of ["cluster_suspended", "key_missing", "cluster_unknown", "identity_invalid"] as const)
  test(`the refusal ${reason} is an error at once`, async () => {
    const { keeper, world } = keeperAt(T);
    await keeper.status();
    world.next = failWith(reason);
    assert.equal(await reasonOf(keeper.status()), reason);
  });

test("an outage takes no refusal back, not even after a restart; a gateway's good answer does", async () => {
  const { keeper, world, stateFile } = keeperAt(T);
  await keeper.status();
  const good = world.next;
  world.next = failWith("cluster_suspended");
  await reasonOf(keeper.status());
  world.next = failWith("gateway_unavailable");
  assert.equal(await reasonOf(keeper.status()), "cluster_suspended");
  const restarted = keeperAt(T, stateFile.saved);
  restarted.world.next = failWith("gateway_unavailable");
  assert.equal(await reasonOf(restarted.keeper.status()), "cluster_suspended");
  world.next = good;
  assert.equal((await keeper.status()).healthz, "ok");
  world.next = failWith("gateway_unavailable");
  assert.equal((await keeper.status()).healthz, "ok");
});

test("a Status that a gateway marks stale runs the same phases from its T", async () => {
  const { keeper, world } = keeperAt(T);
  world.next = () => reply(statusBytes("key-1"), { epoch: { text: "0.1.1" }, staleForMs: world.now - T });
  world.now = T + 9 * minute;
  assert.equal((await keeper.status()).healthz, "ok");
  world.now = T + 11 * minute;
  assert.match((await keeper.status()).healthz, /the key backend cannot be reached/);
  world.now = T + 71 * minute;
  assert.equal(await reasonOf(keeper.status()), "backend_unavailable");
});

test("a gateway's stale word does not undo another's fresh one", async () => {
  const { keeper, world } = keeperAt(T);
  await keeper.status();
  world.next = () =>
    reply(statusBytes("key-1"), { epoch: { text: "0.1.1" }, staleForMs: world.now - (T - 30 * minute) });
  world.now = T + minute;
  assert.equal((await keeper.status()).healthz, "ok");
});

test("an older epoch is never shown, a newer one is, and the highest is sent", async () => {
  const { keeper, world, upstream } = keeperAt(T);
  world.next = () => reply(statusBytes("key-2"), { epoch: { text: "0.2.2" } });
  await keeper.status();
  world.next = () => reply(statusBytes("key-1"), { epoch: { text: "0.1.1" } });
  assert.equal((await keeper.status()).keyId, "key-2");
  world.next = () => reply(statusBytes("key-1"));
  assert.equal((await keeper.status()).keyId, "key-2");
  world.next = () => reply(statusBytes("key-3"), { epoch: { text: "0.3.3" } });
  assert.equal((await keeper.status()).keyId, "key-3");
  assert.deepEqual(
    upstream.calls.map(({ epoch }) => epoch?.text),
    [undefined, "0.2.2", "0.2.2", "0.2.2"],
  );
});

test("what Encrypt learns is shown by Status and an older Encrypt is refused", async () => {
  const { keeper, world, stateFile } = keeperAt(T);
  await keeper.status();
  keeper.learn("key-2", { text: "0.2.2" });
  assert.equal(stateFile.saved?.keyId, "key-2");
  assert.throws(() => keeper.learn("key-1", { text: "0.1.1" }), { reason: "gateway_behind" });
  world.next = failWith("gateway_unavailable");
  assert.equal((await keeper.status()).keyId, "key-2");
});

test("an epoch that cannot be is not believed, not sent and not remembered", async () => {
  const { keeper, world, stateFile } = keeperAt(T);
  await keeper.status();
  for (const epoch of ["999999999999999.0.0", "101.1.1", "0.1.102"]) {
    world.next = () => reply(statusBytes("key-9"), { epoch: { text: epoch } });
    assert.equal((await keeper.status()).keyId, "key-1");
    assert.throws(() => keeper.learn("key-9", { text: epoch }), { reason: "gateway_behind" });
  }
  assert.deepEqual([keeper.epoch()?.text, stateFile.saved?.epoch?.text], ["0.1.1", "0.1.1"]);
  // What heals: a raised generation, whatever its versions.
  world.next = () => reply(statusBytes("key-2"), { epoch: { text: "1.1.500" } });
  assert.equal((await keeper.status()).keyId, "key-2");
});

test("a refusal's newer generation is kept and sent, and an older registry's refusal is not taken", async () => {
  const { keeper, world, stateFile, upstream } = keeperAt(T);
  world.next = () => reply(statusBytes("key-1"), { epoch: { text: "3.1.7", mac: "m" } });
  await keeper.status();
  assert.throws(() => keeper.accept({ method: "decrypt", epoch: { text: "2.0.0" }, reason: "ciphertext_invalid" }), {
    reason: "gateway_behind",
  });
  keeper.accept({ method: "decrypt", epoch: { text: "3.0.0" }, reason: "cluster_suspended" });
  assert.equal(keeper.epoch()?.text, "3.1.7");
  keeper.accept({ method: "decrypt", epoch: { text: "4.0.0", mac: "n" }, reason: "cluster_suspended" });
  assert.deepEqual(stateFile.saved?.epoch, { text: "4.0.0", mac: "n" });
  // A gateway that does not know of it is not believed.
  await keeper.status();
  assert.deepEqual(upstream.calls.at(-1)?.epoch, { text: "4.0.0", mac: "n" });
  assert.throws(() => keeper.learn("key-1", { text: "3.1.7" }), { reason: "gateway_behind" });
});

test("the HMAC of an epoch outlives a gateway that has none", async () => {
  const { keeper, world } = keeperAt(T);
  world.next = () => reply(statusBytes("key-1"), { epoch: { text: "0.1.7", mac: "m" } });
  await keeper.status();
  world.next = () => reply(statusBytes("key-1"), { epoch: { text: "0.1.7" } });
  await keeper.status();
  assert.deepEqual(keeper.epoch(), { text: "0.1.7", mac: "m" });
  world.next = () => reply(statusBytes("key-2"), { epoch: { text: "0.1.8" } });
  await keeper.status();
  assert.deepEqual(keeper.epoch(), { text: "0.1.8" });
});

test("a newer version is newer, even if the clock of the Vault node that made it is behind", async () => {
  const { keeper, world } = keeperAt(T);
  world.next = () => reply(statusBytes("key-1"), { epoch: { text: "0.5000.3" } });
  await keeper.status();
  world.next = () => reply(statusBytes("key-2"), { epoch: { text: "0.4700.4" } });
  assert.equal((await keeper.status()).keyId, "key-2");
});

test("Status calls at once are one request", async () => {
  const { keeper, upstream } = keeperAt(T);
  await Promise.all(Array.from({ length: 50 }, () => keeper.status()));
  assert.equal(upstream.calls.length, 1);
});

test("a Status that kube-apiserver would refuse is an outage, not passed on", async () => {
  const { keeper, world } = keeperAt(T);
  await keeper.status();
  for (const body of [
    statusBytes(""),
    statusBytes("k".repeat(1025)),
    statusBytes("key-9", "ok", "v3"),
    Buffer.from([0xff]),
  ]) {
    world.next = () => reply(body, { epoch: { text: "0.1.1" } });
    assert.equal((await keeper.status()).keyId, "key-1");
  }
});

test("a gateway's healthz text is one line of at most 256 printable bytes", async () => {
  const { keeper, world } = keeperAt(T);
  world.next = () => reply(statusBytes("key-1", `a\nb\u0000ü${"c".repeat(500)}`), { epoch: { text: "0.1.1" } });
  const { healthz } = await keeper.status();
  assert.match(healthz, /^[\x20-\x7e]{1,256}$/);
});

test("a caller in a hurry is told what was good last, and makes no outage of it", async () => {
  const { keeper, upstream, world } = keeperAt(T);
  const late = Promise.withResolvers<UpstreamReply>();
  await keeper.status();
  const asked = upstream.calls.length;
  world.next = () => late.promise as never;
  world.now = T + minute;
  const hurried = await keeper.status(AbortSignal.timeout(20));
  assert.deepEqual([hurried.healthz, hurried.keyId], ["ok", "key-1"]);
  assert.equal(keeper.outage().phase, 0);
  late.resolve(reply(statusBytes("key-2"), { epoch: { text: "0.2.2" } }));
  assert.equal((await keeper.status()).keyId, "key-2", "the answer was waited for all the same");
  assert.equal(upstream.calls.length, asked + 1);
  // Nothing was good yet, or it is too old: the truth is that nobody knows.
  world.next = () => new Promise(() => {}) as never;
  world.now = T + 30 * minute;
  assert.equal(await reasonOf(keeper.status(AbortSignal.timeout(20))), "deadline_exceeded");
});

test("ages do not change with the wall clock", () => {
  let [wall, monotonic] = [T, 5000];
  const now = createSteadyClock(
    () => wall,
    () => monotonic,
  );
  assert.equal(now(), T);
  wall -= 48 * 60 * minute;
  monotonic += 1000;
  assert.equal(now(), T + 1000);
});

test("a state from the future counts from now, one of another cluster does not count", (t) => {
  const dir = mkdtempSync(join(tmpdir(), "state-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const file = join(dir, "state");
  const clock = { now: T };
  const state = createStateFile(file, "prod", silent, () => clock.now);
  state.save({ keyId: "key-1", epoch: { text: "0.1.1" }, goodAt: T });
  clock.now = T - 48 * 60 * minute;
  assert.equal(state.load()?.goodAt, clock.now);
  assert.equal(createStateFile(file, "other", silent, () => clock.now).load(), undefined);
});

test("a state file of 0.1.0 is read, and so is one of a later release", (t) => {
  const dir = mkdtempSync(join(tmpdir(), "state-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const file = join(dir, "state");
  const load = (extra: string): unknown => {
    const fields = `"format":"claviger-shim-1","identity":"prod","keyId":"key-1","epoch":"0.1.1"`;
    writeFileSync(file, `{${fields},"goodAt":${T}${extra}}\n`);
    return createStateFile(file, "prod", silent, () => T).load();
  };
  const known = { keyId: "key-1", goodAt: T, refused: undefined };
  assert.deepEqual(load(""), { ...known, epoch: { text: "0.1.1" } });
  assert.deepEqual(load(`,"epochMac":"m","later":1`), { ...known, epoch: { text: "0.1.1", mac: "m" } });
});

test("--forget removes the epoch and nothing else, so that the next gateway is believed", (t) => {
  const dir = mkdtempSync(join(tmpdir(), "state-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const state = createStateFile(join(dir, "state"), "prod", silent, () => T);
  assert.equal(state.forget(), false);
  state.save({ keyId: "key-1", epoch: { text: "90.1.1" }, goodAt: T });
  assert.equal(state.forget(), true);
  assert.deepEqual(state.load(), { keyId: "key-1", epoch: undefined, goodAt: T, refused: undefined });
});

test("a gateway that confirms the key now and then is one outage in the log, over when it has done so for a while", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const events: string[] = [];
  const log = pino({ level: "info" }, { write: (line: string) => void events.push(line) });
  const { keeper, world } = keeperAt(T, undefined, log);
  const good = world.next;
  await keeper.status();
  for (let i = 0; i < 5; i++) {
    world.next = failWith("overloaded");
    await keeper.status();
    assert.equal(keeper.outage().phase, 1);
    world.next = good;
    await keeper.status();
    assert.equal(keeper.outage().phase, 0);
    t.mock.timers.tick(steadyMs - 1);
  }
  const seen = (): readonly string[] => events.map((line) => (JSON.parse(line) as { readonly event: string }).event);
  assert.deepEqual(seen(), ["outage-phase"]);
  t.mock.timers.tick(1);
  assert.deepEqual(seen(), ["outage-phase", "outage-over"]);
});
