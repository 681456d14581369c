import assert from "node:assert/strict";
import { test } from "node:test";
import { createEndpointHealth } from "@claviger/proto/runtime/endpoint-health.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";

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

for (const [others, longestMs] of [
  ["another end serves", 30_000],
  ["no end serves", 5000],
] as const)
  test(`while ${others} an end that is down is looked at every ${longestMs / 1000} s, after a while`, async () => {
    const down = new KmsError("gateway_unavailable");
    const pauses: number[] = [];
    let run: (() => void) | undefined;
    const health = createEndpointHealth<string>({
      endpoints: ["dead", "other"],
      nameOf: (name) => name,
      choice: "fastest",
      probe: () => Promise.reject(down),
      clock: {
        now: () => 0,
        // The probe's own time-out comes first, and is not run.
        setTimeout: (then, milliseconds) => {
          if (then.length === 0 && milliseconds !== 5000) pauses.push(milliseconds);
          run = then;
          return { unref: () => {} } as NodeJS.Timeout;
        },
        clearTimeout: () => {},
      },
    });
    const [dead, other] = health.entries();
    assert.ok(dead !== undefined && other !== undefined);
    if (others === "no end serves") health.failed(other, down);
    pauses.length = 0;
    health.failed(dead, down);
    for (let i = 0; i < 14; i += 1) {
      run?.();
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    }
    const last = pauses.at(-1) ?? 0;
    assert.ok(last >= 0.75 * longestMs && last <= 1.25 * longestMs, pauses.join(", "));
  });
