// Which answers are Vault's own word, and which only say something about the address that gave them.
import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { suite, test, type TestContext } from "node:test";
import { faultOf, isNotVaultsWord, mayLag } from "@claviger/gateway-core/src/backend/vault/answers.ts";
import { createVaultTransport, type VaultTransport } from "@claviger/gateway-core/src/backend/vault/transport.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";

const vault404 = '{"errors":[]}';

test("what is no JSON of Vault's, or not about the key, is a fault of the address", () => {
  const odd: readonly (readonly [number, string])[] = [
    [404, ""],
    [404, "<html>not found</html>"],
    [200, "<html>welcome</html>"],
    [200, "ok"],
    [404, '{"message":"no such route"}'],
    [403, "Forbidden"],
    [400, "[]"],
    [412, '{"errors":["required index state not present"]}'],
  ];
  for (const [status, body] of odd) {
    const fault = faultOf(status, Buffer.from(body), undefined);
    assert.equal(fault?.reason, "backend_unavailable", body);
    assert.ok(isNotVaultsWord(fault), "and the address is not down");
  }
  for (const [status, body] of [
    [200, ""],
    [404, vault404],
    [403, '{"errors":["1 error occurred:\\n\\t* permission denied\\n\\n"]}'],
    [400, '{"request_id":"a","data":{"batch_results":[{"error":"x"}]}}'],
  ] as const)
    assert.equal(faultOf(status, Buffer.from(body), undefined), undefined, body);
});

test("what a standby has not seen yet may be there all the same", () => {
  assert.ok(mayLag(404, Buffer.from(vault404)));
  assert.ok(mayLag(403, Buffer.from('{"errors":["permission denied"]}')));
  assert.ok(mayLag(400, Buffer.from("requested version for encryption is higher than the latest key version")));
  // Garbage of a caller's costs no second look.
  assert.ok(!mayLag(400, Buffer.from("cipher: message authentication failed")));
  assert.ok(!mayLag(200, Buffer.from("")));
});

type Node = { readonly url: string; health: number; answer: readonly [number, string]; readonly paths: string[] };

async function startNode(t: TestContext, health: number, answer: readonly [number, string]): Promise<Node> {
  const node: Node = { url: "", health, answer, paths: [] };
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    node.paths.push(request.url ?? "");
    const isHealth = request.url?.startsWith("/v1/sys/health") === true;
    const [status, body] = isHealth
      ? [request.url?.includes("standbyok") === true ? 200 : node.health, "{}"]
      : node.answer;
    response.writeHead(status, { "content-type": "application/json" }).end(body);
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return Object.assign(node, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
}

suite("an address that answers, and is not the active node", () => {
  const good = '{"data":{}}';
  const open = (t: TestContext, ...nodes: readonly Node[]): VaultTransport => {
    const transport = createVaultTransport({ addresses: nodes.map(({ url }) => url), tls: undefined });
    t.after(() => transport.close());
    return transport;
  };
  const ask = async (transport: VaultTransport, fromActive = false): Promise<number | string> => {
    const signal = AbortSignal.timeout(3000);
    try {
      return (await transport.send({ method: "GET", path: "/v1/transit/keys/a", headers: {}, signal, fromActive }))
        .status;
    } catch (error) {
      return error instanceof KmsError ? error.reason : String(error);
    }
  };

  test("a proxy's 404 sends the request to the next address", async (t) => {
    const proxy = await startNode(t, 404, [404, "not found"]);
    const transport = open(t, proxy, await startNode(t, 200, [200, good]));
    for (let i = 0; i < 5; i++) assert.equal(await ask(transport), 200);
    assert.equal(await ask(open(t, proxy)), "backend_unavailable");
  });

  test("a standby's 403 or 404 counts only when the active node says the same", async (t) => {
    for (const refusal of [
      [403, '{"errors":["permission denied"]}'],
      [404, vault404],
    ] as const) {
      const standby = await startNode(t, 429, refusal);
      assert.equal(await ask(open(t, standby, await startNode(t, 200, [200, good]))), 200);
      assert.equal(await ask(open(t, standby, await startNode(t, 200, refusal))), refusal[0]);
      assert.equal(await ask(open(t, standby)), "backend_unavailable");
    }
  });

  test("sys/health is asked once for many refusals", async (t) => {
    const active = await startNode(t, 200, [404, vault404]);
    const transport = open(t, active);
    for (let i = 0; i < 20; i++) assert.equal(await ask(transport), 404);
    assert.ok(active.paths.filter((path) => path.startsWith("/v1/sys/health")).length <= 2);
  });

  test("what only the active node may answer is asked of no standby", async (t) => {
    const standby = await startNode(t, 429, [200, good]);
    const active = await startNode(t, 200, [200, good]);
    assert.equal(await ask(open(t, standby, active), true), 200);
    assert.ok(standby.paths.every((path) => path.startsWith("/v1/sys/health")));
    assert.equal(await ask(open(t, standby), true), "backend_unavailable");
    // A proxy that keeps sys/health to itself hides who is active.
    assert.equal(await ask(open(t, await startNode(t, 403, [200, good])), true), 200);
  });
});
