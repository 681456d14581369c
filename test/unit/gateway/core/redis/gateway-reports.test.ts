// What gateways say of themselves in Redis.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type GatewayState,
  readGatewayReports,
  readReportsSince,
  reportGateway,
} from "@claviger/gateway-core/src/redis/gateway-reports.ts";
import { createManualClock } from "../../../proto/runtime/manual-clock.ts";
import { createFakeRedis } from "./fakes.ts";

const secret = Buffer.alloc(32, 7);
const T = 1_700_000_000_000;
const state: GatewayState = {
  version: "0.2.0",
  startedAt: T - 1000,
  eventLoop: 0.25,
  connections: 12,
  backends: [
    {
      name: "main",
      addresses: [{ address: "https://vault.test:8200", isUp: false }],
      login: { until: T + 5000, isLast: false },
    },
  ],
  certificates: [{ role: "server", until: T + 9000 }],
  problems: { "backend/main": "encrypt: backend_unavailable" },
};

function world() {
  const clock = createManualClock();
  const now = (): number => T + clock.now();
  const server = createFakeRedis(now);
  const redis = server.open();
  const keys = { own: secret as Uint8Array | undefined };
  const report = (name: string) =>
    reportGateway({ redis, secret: () => keys.own, name, read: () => state, now, clock });
  const names = async () => (await readGatewayReports(redis, secret)).map(({ name, at }) => [name, at - T]);
  return { clock, keys, server, redis, report, names };
}

test("a gateway is listed with what it says, anew every second, until it stops", async () => {
  const { clock, redis, report, names } = world();
  const first = report("gateway-1:8443");
  report("gateway-2:8443");
  await clock.pass(2500);
  assert.deepEqual((await readGatewayReports(redis, secret))[0], { ...state, name: "gateway-1:8443", at: T + 2000 });
  assert.deepEqual(await names(), [
    ["gateway-1:8443", 2000],
    ["gateway-2:8443", 2000],
  ]);
  await first.close();
  await clock.pass(3000);
  assert.deepEqual(await names(), [["gateway-2:8443", 5000]]);
});

test("one that was killed is shown with its age for a quarter of an hour, and then removed by the others", async () => {
  const { clock, server, report, names } = world();
  const killed = createManualClock();
  reportGateway({
    redis: server.open(),
    secret: () => secret,
    name: "killed:8443",
    read: () => state,
    now: () => T,
    clock: killed,
  });
  report("gateway-1:8443");
  await clock.pass(14 * 60_000);
  assert.deepEqual((await names())[0], ["killed:8443", 0]);
  await clock.pass(2 * 60_000);
  assert.deepEqual(
    (await names()).map(([name]) => name),
    ["gateway-1:8443"],
  );
});

test("forged and moved entries are left out", async () => {
  const { clock, server, report, names } = world();
  report("gateway-1:8443");
  await clock.pass(100);
  const { "gateway-1:8443": value = "" } = server.hash("gateways");
  server.setHash("gateways", { "gateway-1:8443": value.replace("0.2.0", "0.2.1"), "gateway-9:8443": value, x: "" });
  assert.deepEqual(await names(), []);
});

test("since when Redis has known is the first word of any gateway, and begins anew where it was emptied", async () => {
  const { clock, server, redis, report } = world();
  assert.equal(await readReportsSince(redis, secret), undefined);
  report("gateway-1:8443");
  await clock.pass(65_000);
  report("gateway-2:8443");
  await clock.pass(1000);
  assert.equal(await readReportsSince(redis, secret), T);
  server.entries.clear();
  assert.equal(await readReportsSince(redis, secret), undefined);
  await clock.pass(10_000);
  assert.equal(await readReportsSince(redis, secret), T + 67_000);
  await redis.set("nodes-since", `forged.${T - 1e9}`, 1e9);
  assert.equal(await readReportsSince(redis, secret), undefined);
});

test("nothing is written while the key is not known, and soon after it is; a Redis that is away ends nothing", async () => {
  const { clock, keys, server, report, names } = world();
  keys.own = undefined;
  const reporter = report("gateway-1:8443");
  await clock.pass(5000);
  assert.equal(server.writes, 0);
  keys.own = secret;
  await clock.pass(500);
  assert.deepEqual(await names(), [["gateway-1:8443", 5500]]);
  server.isAway = true;
  await clock.pass(15_000);
  server.isAway = false;
  await clock.pass(10_000);
  assert.equal((await names()).length, 1);
  server.isAway = true;
  await reporter.close();
});
