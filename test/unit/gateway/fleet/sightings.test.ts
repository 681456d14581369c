// What the service has seen of gateways over several looks.
import assert from "node:assert/strict";
import { test } from "node:test";
import { reportGateway } from "@claviger/gateway-core/src/redis/gateway-reports.ts";
import { createSightings } from "../../../../gateway/fleet/src/sightings.ts";
import { createManualClock } from "../../proto/runtime/manual-clock.ts";
import { createFakeRedis } from "../core/redis/fakes.ts";
import { gatewayOf } from "./reports.ts";

const secret = Buffer.alloc(32, 7);
const T = 1_700_000_000_000;

test("a gateway is silent when its last word stays the same, and by no clock of its own", async () => {
  const clock = createManualClock();
  const now = (): number => T + clock.now();
  const server = createFakeRedis(now);
  const start = (name: string, skew: number, own = clock) =>
    reportGateway({
      redis: server.open(),
      secret: () => secret,
      name,
      read: () => gatewayOf(T),
      now: () => now() + skew,
      clock: own,
    });
  const killed = createManualClock();
  start("ahead:1", 600_000);
  start("behind:1", -600_000);
  start("killed:1", 0, killed);
  const sightings = createSightings({ redis: server.open(), secret: () => secret, now, ticks: () => clock.now() });
  const silent = async (): Promise<readonly string[]> => [...(await sightings.gateways()).silent];
  await clock.pass(100);
  assert.deepEqual(await silent(), [], "at the first look nobody is");
  await clock.pass(1500);
  assert.deepEqual(await silent(), []);
  await clock.pass(1500);
  assert.deepEqual(await silent(), ["killed:1"]);
  await killed.pass(1000);
  assert.deepEqual(await silent(), [], "it has said something");
});
