// What a gateway says of itself: what is wrong with it, and nothing without a bound.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { OpenBackend } from "@claviger/gateway-core/src/backend/port.ts";
import { createGatewayState } from "../../../../gateway/server/src/gateway-state.ts";

const T = 1_700_000_000_000;
const vault = {
  name: "main",
  addresses: () => [{ address: "https://vault.test:8200", isUp: false, latencyMs: 3 }],
  login: () => ({ until: T + 60_000, isLast: false }),
} as unknown as OpenBackend;
const embedded = { name: "lab" } as unknown as OpenBackend;

function readerOf(checks: Readonly<Record<string, string>>) {
  return createGatewayState({
    version: "0.2.0",
    backends: [vault, embedded],
    readiness: () => ({ ready: true, registryVersion: "sha256:1", checks }),
    certificates: () => [
      { role: "server", level: "ok", text: "ok", secondsLeft: 60 },
      { role: "client_ca", level: "invalid", text: "there is no certificate" },
    ],
    connections: () => 7,
    keyFailures: () => [{ key: "main:transit/red", version: 2, what: "decrypt" }],
    loopMs: 1000,
    now: () => T,
  });
}

test("backends, logins and certificates are named with the time until which they are good", () => {
  const state = readerOf({
    process: "ok",
    "backend/lab": "not asked yet",
    audit: "no sink takes records",
    "certificate/x": "expired",
  })();
  assert.deepEqual(state, {
    version: "0.2.0",
    startedAt: T,
    connections: 7,
    registryVersion: "sha256:1",
    backends: [
      {
        name: "main",
        addresses: [{ address: "https://vault.test:8200", isUp: false }],
        login: { until: T + 60_000, isLast: false },
      },
      { name: "lab", addresses: [] },
    ],
    certificates: [
      { role: "server", until: T + 60_000 },
      { role: "client_ca", problem: "there is no certificate" },
    ],
    problems: { audit: "no sink takes records" },
    keyFailures: [{ key: "main:transit/red", version: 2, what: "decrypt" }],
  });
});

test("problems are cut, and so many", () => {
  const { problems } = readerOf(
    Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`check-${i}`, "x".repeat(900)])),
  )();
  assert.equal(Object.keys(problems).length, 16);
  assert.ok(Object.values(problems).every((text) => text.length === 256));
});

test("the event loop's share is of a whole while, and stays until the next one is over", async () => {
  const read = readerOf({});
  assert.equal(read().eventLoop, undefined);
  await sleep(1100);
  const { eventLoop = -1 } = read();
  assert.ok(eventLoop >= 0 && eventLoop < 0.8, String(eventLoop));
  const until = performance.now() + 1100;
  while (performance.now() < until);
  const busy = read().eventLoop ?? 0;
  assert.ok(busy > 0.9);
  assert.equal(read().eventLoop, busy);
});
