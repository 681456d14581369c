import assert from "node:assert/strict";
import { test } from "node:test";
import { createEndpointHealth } from "@claviger/proto/runtime/endpoint-health.ts";

test("an end that was slow once is left alone for a while, and not for ever", () => {
  let at = 0;
  const health = createEndpointHealth<string>({
    endpoints: ["slow", "quick"],
    nameOf: (name) => name,
    choice: "fastest",
    probe: () => Promise.resolve(),
    clock: { now: () => at, setTimeout: () => ({}) as NodeJS.Timeout, clearTimeout: () => {} },
  });
  const entryOf = (name: string) => health.entries().find(({ endpoint }) => endpoint === name) ?? assert.fail(name);
  const firsts = (): ReadonlySet<string> =>
    new Set(Array.from({ length: 200 }, () => health.order()[0]?.endpoint ?? ""));
  health.answered(entryOf("slow"), 500);
  health.answered(entryOf("quick"), 2);
  assert.deepEqual(firsts(), new Set(["quick"]));
  let askedAgainAt = 0;
  for (at = 1000; askedAgainAt === 0 && at < 600_000; at += 1000) {
    health.answered(entryOf("quick"), 2);
    if (firsts().has("slow")) askedAgainAt = at;
  }
  assert.ok(askedAgainAt >= 60_000 && askedAgainAt <= 240_000, `after ${askedAgainAt} ms`);
  // It is slow still: known again by one answer.
  health.answered(entryOf("slow"), 500);
  assert.deepEqual(firsts(), new Set(["quick"]));
  // And where both are asked now and then, what is known of them fades alike.
  at += 600_000;
  health.answered(entryOf("slow"), 500);
  health.answered(entryOf("quick"), 2);
  at += 60_000;
  assert.deepEqual(firsts(), new Set(["quick"]));
});
