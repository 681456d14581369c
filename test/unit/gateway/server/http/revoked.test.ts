// Nodes that a cluster's record refuses, on a connection that was open before it did.
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test, type TestContext } from "node:test";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { nodeName } from "@claviger/proto/wire/names.ts";
import { methods } from "@claviger/proto/wire/protocol.ts";
import { Agent } from "undici";
import { createAuthority, createLeaf } from "../../../certificates.ts";
import { cluster } from "../../fakes.ts";
import { ca, gatewayPair, start } from "./harness.ts";

const authority = await createAuthority("ours");
const node = (name: string) =>
  createLeaf({ issuer: authority, use: "client", uri: `spiffe://fleet.test/cluster/prod/node/${name}` });
const [one, two, renewed] = await Promise.all([node("cp-1"), node("cp-2"), node("cp-1")]);
const serialOf = ({ cert }: { readonly cert: string }): string => new X509Certificate(cert).serialNumber;

async function site(t: TestContext, requestsPerSecond = 1000) {
  const record = cluster({ limits: { requestsPerSecond } });
  const records: ClusterRecord[] = [record];
  const gateway = await start(t, { tls: { ...gatewayPair, clientCa: authority.cert }, records });
  /** Requests of a node over one connection. */
  const connected = (pair: typeof one) => {
    const agent = new Agent({ allowH2: false, connections: 1, connect: { ca: ca.cert, ...pair } });
    t.after(() => agent.destroy());
    return async (): Promise<number | string> => {
      const reply = await gateway.post(methods.status, "", {}, agent);
      return reply.status === 200 ? 200 : `${reply.status} ${String(reply.headers["claviger-reason"])}`;
    };
  };
  const say = (nodes: ClusterRecord["nodes"]): void => void Object.assign(record, { nodes });
  return { ...gateway, connected, say };
}

test("a name, a serial and a name that is not expected are refused on open connections, and nothing else", async (t) => {
  const { connected, say, lines } = await site(t);
  const [first, second, third] = [connected(one), connected(two), connected(renewed)];
  const all = async () => [await first(), await second(), await third()];
  assert.deepEqual(await all(), [200, 200, 200]);
  say({ revoked: [nodeName.parse("cp-1")] });
  assert.deepEqual(await all(), ["403 node_revoked", 200, "403 node_revoked"]);
  say({ revokedSerials: [serialOf(one).replace(/^0+/, "")] });
  assert.deepEqual(await all(), ["403 node_revoked", 200, 200]);
  say({ expected: [nodeName.parse("cp-1")] });
  assert.deepEqual(await all(), [200, "403 node_unexpected", 200]);
  say({});
  assert.deepEqual(await all(), [200, 200, 200]);
  const line = lines.find(({ reason }) => reason === "node_unexpected");
  assert.deepEqual([line?.outcome, line?.cluster, line?.node], ["denied", "prod", "cp-2"]);
  assert.equal(line?.serial, serialOf(two));
});

test("who is revoked does not use up the cluster's rate", async (t) => {
  const { connected, say } = await site(t, 1);
  say({ revoked: [nodeName.parse("cp-1")] });
  const [gone, good] = [connected(one), connected(two)];
  for (let i = 0; i < 15; i++) assert.equal(await gone(), "403 node_revoked");
  assert.equal(await good(), 200);
});
