import assert from "node:assert/strict";
import { test } from "node:test";
import { watchOutcomes } from "@claviger/gateway-server/src/backend/outcomes.ts";
import type { Reason } from "@claviger/proto/wire/errors.ts";
import { createFakeBackend, failWith, ref } from "../../fakes.ts";

const signal = new AbortController().signal;

test("what real calls are refused is named with its cause and since when, until the same call succeeds", async () => {
  const backend = createFakeBackend();
  let now = Date.UTC(2026, 0, 1);
  const watched = watchOutcomes(
    backend,
    () => {},
    () => now,
  );
  const encrypt = (): Promise<unknown> => watched.wrap(ref, [], signal).catch(() => {});
  await encrypt();
  assert.equal(watched.problem(), undefined);
  backend.before = failWith("backend_unavailable", "wrap");
  await encrypt();
  now += 60_000;
  await encrypt();
  // The health check and the other calls are well.
  await watched.health(signal);
  await watched.describe(ref, signal);
  assert.equal(watched.problem(), "encrypt: backend_unavailable since 2026-01-01T00:00:00.000Z");
  backend.before = failWith("backend_denied", "describe");
  await watched.describe(ref, signal).catch(() => {});
  assert.match(watched.problem() ?? "", /^encrypt: .*; read key: backend_denied since 2026-01-01T00:01:00/);
  backend.before = () => {};
  await encrypt();
  await watched.describe(ref, signal);
  assert.equal(watched.problem(), undefined);
});

test("a caller's own faults, and one key's, say nothing of the backend", async () => {
  const backend = createFakeBackend();
  const watched = watchOutcomes(backend);
  for (const reason of ["request_malformed", "key_missing", "canceled", "deadline_exceeded"] satisfies Reason[]) {
    backend.before = failWith(reason);
    await watched.wrap(ref, [], signal).catch(() => {});
  }
  assert.equal(watched.problem(), undefined);
});
