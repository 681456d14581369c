// What a shim tells gateways of itself and of the outage that is over.
import assert from "node:assert/strict";
import { test } from "node:test";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { parseShimReport } from "@claviger/proto/wire/shim-report.ts";
import { createStatusKeeper } from "@claviger/shim/src/status.ts";
import type { UpstreamReply } from "@claviger/shim/src/gateway.ts";
import { createFakeStateFile, createFakeUpstream, reply, silent, statusBytes } from "./fakes.ts";

const minute = 60_000;
const T = 1_700_000_000_000;
const key = `clv1.${"k".repeat(43)}`;
const about = { version: "0.2.0", config: "0123456789abcdef" };

function keeperAt(isTelling = true) {
  const world = { now: T, isAway: false };
  const upstream = createFakeUpstream((): UpstreamReply => {
    if (world.isAway) throw new KmsError("gateway_unavailable");
    return reply(statusBytes(key), { epoch: { text: "0.1.1" } });
  });
  const keeper = createStatusKeeper({
    upstream,
    stateFile: createFakeStateFile(undefined),
    grace: () => ({ healthyForMs: 10 * minute, degradedForMs: 60 * minute }),
    ...(isTelling && { about: () => about }),
    log: silent,
    now: () => world.now,
  });
  const ask = async (at: number, isAway: boolean) => {
    [world.now, world.isAway] = [at, isAway];
    await keeper.status().catch(() => {});
    return parseShimReport(upstream.calls.at(-1)?.report);
  };
  return { upstream, ask };
}

test("a Status carries what the shim is and knows at that moment", async () => {
  const { ask } = keeperAt();
  assert.deepEqual(await ask(T, false), { ...about, phase: 0 });
  assert.deepEqual(await ask(T + minute, false), { ...about, phase: 0, sinceGood: 60, keyId: key });
});

test("an outage is told by the first Status after it, and remembered with its worst phase by those that follow", async () => {
  const { ask } = keeperAt();
  await ask(T, false);
  await ask(T + 9 * minute, true);
  assert.equal((await ask(T + 11 * minute, true))?.phase, 1);
  assert.equal((await ask(T + 71 * minute, true))?.phase, 2);
  const back = await ask(T + 80 * minute, false);
  assert.deepEqual([back?.phase, back?.sinceGood, back?.lastOutage], [3, 80 * 60, undefined]);
  const after = await ask(T + 81 * minute, false);
  assert.deepEqual([after?.phase, after?.sinceGood], [0, 60]);
  assert.deepEqual(after?.lastOutage, { phase: 3, lasted: 80 * 60, ago: 60 });
  // A short one takes its place.
  await ask(T + 82 * minute, true);
  await ask(T + 83 * minute, false);
  assert.deepEqual((await ask(T + 84 * minute, false))?.lastOutage, { phase: 1, lasted: 120, ago: 60 });
});

test("a shim that was not told what it is says nothing", async () => {
  const { upstream, ask } = keeperAt(false);
  await ask(T, false);
  assert.equal(upstream.calls.at(-1)?.report, undefined);
});
