// A gateway that serves some clusters only: others are refused before anything of theirs is read.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { createServes } from "@claviger/gateway-core/src/registry/labels.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { nodeName } from "@claviger/proto/wire/names.ts";
import { methods } from "@claviger/proto/wire/protocol.ts";
import { Agent } from "undici";
import { createAuthority, createLeaf } from "../../../certificates.ts";
import { cluster } from "../../fakes.ts";
import { ca, gatewayPair, reversing, start } from "./harness.ts";

const authority = await createAuthority("ours");
const node = await createLeaf({
  issuer: authority,
  use: "client",
  uri: "spiffe://fleet.test/cluster/prod/node/cp-1",
});

async function site(t: TestContext, record: ClusterRecord) {
  let served = 0;
  const gateway = await start(t, {
    tls: { ...gatewayPair, clientCa: authority.cert },
    records: [record],
    serves: createServes({ matchLabels: { cell: "a" } }),
    service: {
      ...reversing,
      status: (call) => {
        served += 1;
        return reversing.status(call);
      },
    },
  });
  const agent = new Agent({ allowH2: false, connections: 1, connect: { ca: ca.cert, ...node } });
  t.after(() => agent.destroy());
  const ask = async (body: Uint8Array | string = "", path: string = methods.status): Promise<string> => {
    const reply = await gateway.post(path, body, {}, agent);
    return reply.status === 200 ? "200" : `${reply.status} ${String(reply.headers["claviger-reason"])}`;
  };
  return { ...gateway, ask, served: () => served };
}

test("a cluster of another cell is refused, whatever it asks for, until its labels are this cell's", async (t) => {
  const record = cluster({ labels: { cell: "b" } });
  const { ask, served, lines } = await site(t, record);
  const refused = "503 cluster_not_served";
  assert.equal(await ask(), refused);
  assert.equal(await ask("x", methods.encrypt), refused);
  assert.equal(await ask("x", methods.decryptBatch), refused);
  // A body that is too large is not found to be so: nobody looks.
  assert.equal(await ask(Buffer.alloc(60_000), methods.encrypt), refused);
  assert.equal(served(), 0);
  assert.deepEqual([lines[0]?.outcome, lines[0]?.reason, lines[0]?.cluster], ["denied", "cluster_not_served", "prod"]);
  Object.assign(record, { labels: { cell: "a" } });
  assert.equal(await ask(), "200");
  Object.assign(record, { labels: undefined });
  assert.equal(await ask(), refused);
});

test("the cluster's state and nodes are the matter of its own cell; its issuer is everybody's", async (t) => {
  const record = cluster({ labels: { cell: "b" }, state: "suspended", nodes: { revoked: [nodeName.parse("cp-1")] } });
  const { ask } = await site(t, record);
  assert.equal(await ask(), "503 cluster_not_served");
  Object.assign(record, { issuer: `sha256:${"0".repeat(64)}` });
  assert.equal(await ask(), "403 issuer_not_allowed");
});

test("requests to the wrong cell do not use up the cluster's rate", async (t) => {
  const record = cluster({ labels: { cell: "b" }, limits: { requestsPerSecond: 1 } });
  const { ask } = await site(t, record);
  for (let i = 0; i < 15; i++) assert.equal(await ask(), "503 cluster_not_served");
  Object.assign(record, { labels: { cell: "a" } });
  for (let i = 0; i < 10; i++) assert.equal(await ask(), "200");
});
