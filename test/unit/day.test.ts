// A day on simulated clocks, in steps of half a minute: certificates that are replaced many times, a token
// that is renewed and replaced, outages whose phases go by their age. No timer is lost, and each thing is
// said once.
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { VaultClient } from "@claviger/gateway-core/src/backend/vault/client.ts";
import { keepToken } from "@claviger/gateway-core/src/backend/vault/token.ts";
import { watchExpiry } from "@claviger/proto/runtime/expiry.ts";
import type { Secret } from "@claviger/proto/runtime/secret.ts";
import { watchFiles } from "@claviger/proto/runtime/watch.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { mountPath } from "@claviger/proto/wire/names.ts";
import { createStatusKeeper } from "@claviger/shim/src/status.ts";
import { pino } from "pino";
import { createAuthority, createLeaf } from "./certificates.ts";
import { createFakeStateFile, createFakeUpstream, reply, silent, statusBytes } from "./shim/fakes.ts";

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const step = 30 * second;
const steps = (24 * hour) / step;

type Line = { readonly event: string; readonly role?: string; readonly time: number };

function createLog() {
  const lines: Line[] = [];
  const log = pino({ level: "info" }, { write: (text: string) => void lines.push(JSON.parse(text) as Line) });
  return {
    log,
    count: (event: string, role?: string) =>
      lines.filter((line) => line.event === event && (role === undefined || line.role === role)).length,
  };
}

/** Calls `each` after every step of the day, with its number. */
async function passDay(t: TestContext, each: (at: number) => Promise<void> | void): Promise<void> {
  for (let at = 1; at <= steps; at++) {
    t.mock.timers.tick(step);
    // What a timer began, and what that leads to.
    for (let turn = 0; turn < 4; turn++) await nextTurn();
    await each(at);
  }
}

test("certificates that live for three hours and are replaced by files: each expiry is told once, each file is taken", async (t) => {
  const start = Math.floor(Date.now() / 1000) * 1000;
  t.mock.timers.enable({ apis: ["Date", "setTimeout", "setInterval"], now: start });
  // Each round of the watch of files ends with its next timer; there are real files under it.
  let rounds = 0;
  const arm = globalThis.setTimeout;
  t.mock.method(globalThis, "setTimeout", (run: () => void, ms: number) => {
    if (ms === step) rounds += 1;
    return arm(run, ms);
  });
  const dir = mkdtempSync(join(tmpdir(), "claviger-day-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const ca = await createAuthority("root", undefined, start + 3650 * 24 * hour);
  const issue = async (at: number): Promise<string> =>
    (await createLeaf({ issuer: ca, use: "client", notBefore: at, notAfter: at + 3 * hour })).cert;
  const file = join(dir, "cert");
  writeFileSync(file, await issue(start));
  const { log, count } = createLog();
  let inUse = new X509Certificate(await issue(start));
  let next = "";
  let taken = 0;
  const files = watchFiles({
    files: () => [file],
    onChange: () => {
      taken += 1;
      inUse = new X509Certificate(next);
    },
    log,
    everyMs: step,
  });
  t.after(() => files.close());
  const roles = [
    { role: "client", kind: "chain", read: () => [inUse] },
    { role: "gateway_ca", kind: "authorities", read: () => [new X509Certificate(ca.cert)] },
  ] as const;
  const watch = watchExpiry({ roles, log });
  t.after(watch.close);

  /** Waits until the watch of files has gone to sleep so many times. */
  const looked = async (count: number): Promise<void> => {
    for (let turns = 0; rounds < count; turns++) {
      if (turns > 100_000) assert.fail("the watch of files has lost its timer");
      await nextTurn();
    }
  };
  await looked(1);

  let renewed = 0;
  let least = Number.POSITIVE_INFINITY;
  const lateAt = 12 * hour;
  await passDay(t, async (at) => {
    await looked(at + 1);
    const now = at * step;
    // After two and a half hours each time; once, at noon, the renewer is late by one hour.
    const age = start + now - Date.parse(inUse.validFrom);
    const isLate = now > lateAt && now < lateAt + 4 * hour && renewed === 4;
    if (age >= 2.5 * hour + (isLate ? hour : 0) && renewed === taken) {
      next = await issue(start + now);
      writeFileSync(file, next);
      renewed += 1;
    }
    least = Math.min(least, watch.states()[0]?.secondsLeft ?? 0);
  });
  console.log(
    `${renewed} renewals, ${count("certificate-expiring")} warnings, ${count("certificate-invalid")} expired, ${rounds} looks at the file`,
  );
  assert.ok(renewed >= 8, `${renewed} renewals`);
  assert.equal(taken, renewed);
  assert.equal(count("files-reloaded"), renewed);
  assert.equal(count("files-rejected"), 0);
  assert.equal(
    count("certificate-expiring", "client"),
    renewed + (Date.parse(inUse.validTo) - start - 24 * hour <= hour ? 1 : 0),
  );
  assert.equal(count("certificate-invalid", "client"), 1, "the one that was renewed too late");
  assert.equal(count("certificate-expiring", "gateway_ca"), 0);
  assert.ok(least < 0 && least >= -hour / 1000, `the metric showed ${least} s at the least`);
  assert.equal(rounds, steps + 1);
});

/** A Vault of tokens that live for a quarter of an hour, and for four hours at most. */
function createTokenVault() {
  const ttl = 15 * minute;
  const tokens = new Map<string, { endsAt: number; readonly maxAt: number }>();
  const vault = {
    isDown: false,
    grants: [] as number[],
    logins: 0,
    isValid: (text: string) => (tokens.get(text)?.endsAt ?? 0) > Date.now(),
  };
  const grant = (text: string, maxAt: number) => {
    const endsAt = Math.min(Date.now() + ttl, maxAt);
    tokens.set(text, { endsAt, maxAt });
    vault.grants.push(Date.now());
    const auth = { client_token: text, lease_duration: Math.floor((endsAt - Date.now()) / 1000), renewable: true };
    return Promise.resolve({ auth });
  };
  const clientOf = (token?: Secret): VaultClient => ({
    read: () => assert.fail("nothing is looked up"),
    list: () => assert.fail("nothing is listed"),
    remove: () => assert.fail("nothing is listed"),
    write(path) {
      if (vault.isDown) return Promise.reject(new KmsError("backend_unavailable"));
      if (path === "auth/cert/login") {
        vault.logins += 1;
        return grant(`token-${vault.logins}`, Date.now() + 4 * hour);
      }
      assert.equal(path, "auth/token/renew-self");
      const text = token?.use((own) => own) ?? "";
      const known = tokens.get(text);
      if (known === undefined || !vault.isValid(text)) return Promise.reject(new KmsError("backend_denied"));
      return grant(text, known.maxAt);
    },
  });
  return { vault, clientOf };
}

test("a token of fifteen minutes, four hours at most: renewed and replaced in time, all day", async (t) => {
  t.mock.timers.enable({ apis: ["Date", "setTimeout", "setInterval"], now: 1_700_000_000_000 });
  const start = Date.now();
  const { vault, clientOf } = createTokenVault();
  const auth = { kind: "cert", mount: mountPath.parse("cert"), role: "gw" } as const;
  const keeper = keepToken({ auth, clientOf, log: silent, now: Date.now });
  t.after(() => keeper.close());
  const never = new AbortController().signal;
  const text = (await keeper.current(never)).use((own) => own);
  assert.ok(vault.isValid(text));
  let checked = 0;
  // Vault is away from 9:00 to 9:04: a token that is renewed at two thirds of its life survives that.
  const isAway = (now: number): boolean => now >= 9 * hour && now < 9 * hour + 4 * minute;
  await passDay(t, async (at) => {
    vault.isDown = isAway(at * step);
    const token = await keeper.current(never);
    assert.ok(token.use(vault.isValid), `a token that has ended is given out at ${at * step} ms`);
    checked += 1;
  });
  const gaps = vault.grants.slice(1).map((at, i) => ({ at: at - start, gap: at - (vault.grants[i] ?? 0) }));
  const slow = gaps.filter(({ at, gap }) => gap > 10 * minute + step && !(at >= 9 * hour && at < 9.25 * hour));
  console.log(`${vault.logins} logins, ${vault.grants.length - vault.logins} renewals, ${checked} looks at the token`);
  assert.deepEqual(slow, []);
  assert.equal(checked, steps);
  assert.ok(vault.logins >= 6 && vault.logins <= 9, `${vault.logins} logins`);
  assert.ok(vault.grants.length >= 144, `${vault.grants.length} grants`);
});

test("three outages of a day go through their phases by their age, and each ends", async (t) => {
  t.mock.timers.enable({ apis: ["Date", "setTimeout", "setInterval"], now: 1_700_000_000_000 });
  const start = Date.now();
  const outages = [
    [4, 5 * minute],
    [10, 40 * minute],
    [16, 150 * minute],
  ] as const;
  const isOut = (now: number): boolean => outages.some(([at, ms]) => now > at * hour && now <= at * hour + ms);
  const upstream = createFakeUpstream(() => {
    if (isOut(Date.now() - start)) throw new KmsError("gateway_unavailable");
    return reply(statusBytes("key-1"), { epoch: { text: "0.1.1" } });
  });
  const keeper = createStatusKeeper({
    upstream,
    stateFile: createFakeStateFile(undefined, Date.now),
    grace: () => ({ healthyForMs: 10 * minute, degradedForMs: 60 * minute }),
    log: silent,
    now: Date.now,
  });
  const seen = new Map<number, number>();
  let goodAt = start;
  await passDay(t, async () => {
    const isGone = isOut(Date.now() - start);
    const said = await keeper.status().then(
      ({ healthz }) => (healthz === "ok" ? "ok" : "degraded"),
      () => "error",
    );
    const { phase, secondsSinceGood } = keeper.outage();
    seen.set(phase, (seen.get(phase) ?? 0) + 1);
    if (!isGone) {
      goodAt = Date.now();
      assert.deepEqual([phase, said], [0, "ok"]);
      return;
    }
    const age = Date.now() - goodAt;
    assert.equal(secondsSinceGood, age / 1000);
    if (age === 10 * minute || age === 70 * minute) return;
    const wanted = age < 10 * minute ? [1, "ok"] : age < 70 * minute ? [2, "degraded"] : [3, "error"];
    assert.deepEqual([phase, said], wanted, `${age / minute} min after the last good Status`);
  });
  console.log(`steps in phases 0 to 3: ${[0, 1, 2, 3].map((phase) => seen.get(phase)).join(", ")}`);
  assert.deepEqual(
    [0, 1, 2, 3].filter((phase) => !seen.has(phase)),
    [],
  );
});
