// A shim whose list has gateways of another cell: no call is lost, and they are left alone.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { steadyNow } from "@claviger/proto/runtime/clock.ts";
import { createUpstream, type Upstream } from "@claviger/shim/src/upstream.ts";
import { type Answer, createFleet, noMetrics, reasonOf, startGateway } from "./fakes.ts";

const fleet = await createFleet();
const ok: Answer = { body: Buffer.from("ok") };
const elsewhere: Answer = { reason: "cluster_not_served" };

async function site(t: TestContext, answers: Answer[]) {
  const gateways = await Promise.all(answers.map((_, i) => startGateway(t, fleet, () => answers[i] ?? ok)));
  const upstream: Upstream = createUpstream(
    gateways.map(({ url }) => url),
    fleet.tls,
    noMetrics,
  );
  t.after(() => upstream.close());
  const call = () =>
    upstream.call({ method: "decrypt", body: Buffer.from("body"), deadline: steadyNow() + 3000, hedge: false });
  return { gateways, upstream, call, asked: () => gateways.map(({ asked }) => asked.length) };
}

test("gateways of another cell are left alone once they have said so", async (t) => {
  const { upstream, gateways, call, asked } = await site(t, [elsewhere, ok, elsewhere]);
  for (let i = 0; i < 20; i++) await call();
  for (let i = 0; i < 200; i++) await call();
  // Once each, and beside a call that was overdue on a busy machine.
  const [first = 0, , third = 0] = asked();
  assert.ok(first <= 5 && third <= 5, String(asked()));
  const own = upstream.gateways().find(({ url }) => url === gateways[1]?.url);
  assert.equal(own?.problem, undefined);
});

test("a cluster that moves to another cell loses no call, and its shim follows it at once", async (t) => {
  const answers = [ok, elsewhere];
  const { call, asked } = await site(t, answers);
  for (let i = 0; i < 20; i++) await call();
  answers.reverse();
  for (let i = 0; i < 20; i++) assert.equal((await call()).body.toString(), "ok");
  const [left = 0] = asked();
  for (let i = 0; i < 100; i++) await call();
  assert.ok((asked()[0] ?? 0) <= left + 5, "the cell that it has left is asked no more");
});

test("where no gateway serves the cluster it is an outage that says so; a gateway that is away says more than one of another cell", async (t) => {
  const answers: Answer[] = [elsewhere, elsewhere];
  const { upstream, call, gateways } = await site(t, answers);
  assert.equal(await reasonOf(call()), "cluster_not_served");
  assert.deepEqual(
    upstream.gateways().map(({ problem }) => problem),
    ["cluster_not_served", "cluster_not_served"],
  );
  answers[1] = { reason: "backend_sealed" };
  assert.equal(await reasonOf(call()), "backend_sealed");
  await gateways[1]?.stop();
  assert.equal(await reasonOf(call()), "gateway_unavailable");
});
