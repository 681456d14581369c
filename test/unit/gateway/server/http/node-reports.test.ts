// Whom a gateway takes note of with a Status: the node of the certificate, and nobody that it names.
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test, type TestContext } from "node:test";
import { createMetrics } from "@claviger/gateway-server/src/metrics.ts";
import { createNodeReports, readNodeReports, type SeenNode } from "@claviger/gateway-core/src/redis/node-reports.ts";
import { headers, methods } from "@claviger/proto/wire/protocol.ts";
import { createManualClock } from "../../../proto/runtime/manual-clock.ts";
import { createFakeRedis } from "../../core/redis/fakes.ts";
import { cluster } from "../../fakes.ts";
import { nodePair, start } from "./harness.ts";

const secret = Buffer.alloc(32, 7);
const header = "version=0.2.0;phase=2;good=900";

async function site(t: TestContext, record = cluster()) {
  const seen: SeenNode[] = [];
  const clock = createManualClock();
  const redis = createFakeRedis().open();
  const metrics = createMetrics();
  const reports = createNodeReports({
    redis,
    secret: () => secret,
    gateway: () => "gateway-1:8443",
    onMalformed: metrics.reportMalformed,
    clock,
  });
  const nodes = {
    ...reports,
    seen(node: SeenNode) {
      seen.push(node);
      reports.seen(node);
    },
  };
  const gateway = await start(t, { nodes, metrics, records: [record] });
  const written = async () => {
    await clock.pass(1000);
    return (await readNodeReports(redis, secret, record.uid)).reports;
  };
  return { ...gateway, seen, written, metrics };
}

test("a Status is a sighting of the node of its certificate; no other method is", async (t) => {
  const { post, seen, written } = await site(t);
  assert.equal((await post(methods.status, "", { [headers.shim]: header })).status, 200);
  await post(methods.encrypt, "\x0a\x01x", { [headers.shim]: header });
  assert.equal(seen.length, 1);
  const { serialNumber, validFrom, validTo } = new X509Certificate(nodePair.cert);
  const [report] = await written();
  assert.deepEqual(
    [report?.node, report?.gateway, report?.shim],
    ["cp-1", "gateway-1:8443", { version: "0.2.0", phase: 2, sinceGood: 900 }],
  );
  assert.deepEqual(report?.certificate, {
    serial: serialNumber,
    notBefore: Date.parse(validFrom),
    notAfter: Date.parse(validTo),
  });
});

test("a header that names another node, or is garbage, changes nothing but the node's own entry, and the Status is answered", async (t) => {
  const { post, written, metrics } = await site(t);
  const all = [
    `${header};node=cp-2;cluster=other`,
    "node=cp-2",
    `${header};key=${"x".repeat(64)}`,
    "\u00ff\u00fe",
    "x".repeat(8000),
  ];
  for (const text of all) {
    const { status, headers: answered } = await post(methods.status, "", { [headers.shim]: text });
    assert.deepEqual([status, answered["claviger-reason"]], [200, undefined], text.slice(0, 40));
  }
  assert.deepEqual(
    (await written()).map(({ node }) => node),
    ["cp-1"],
  );
  assert.match(await metrics.render(), /^claviger_gateway_malformed_shim_reports_total\S* 4$/m);
});

test("a shim that says nothing of itself is seen all the same", async (t) => {
  const { post, written } = await site(t);
  await post(methods.status, "");
  assert.deepEqual(
    (await written()).map(({ node, shim }) => [node, shim]),
    [["cp-1", undefined]],
  );
});

test("who is refused is not seen", async (t) => {
  const { post, seen } = await site(t, cluster({ state: "suspended" }));
  assert.notEqual((await post(methods.status, "", { [headers.shim]: header })).status, 200);
  assert.deepEqual(seen, []);
});
