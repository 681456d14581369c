import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { keyIntervalOf, waitForGateways } from "@claviger/cli/src/gateway-word.ts";
import { createMetrics } from "@claviger/gateway-server/src/metrics.ts";
import { parseRegistry } from "@claviger/gateway-core/src/registry/merge.ts";
import { type Registry, registryDigest } from "@claviger/gateway-core/src/registry/record.ts";

function registryOf(state: string, text = "{ name: prod, uid: 01JD9Z6X3QK8V5T7W2M4N6P8RA, "): Registry {
  return parseRegistry(
    "clusters.yaml",
    `clusters:\n  - ${text}state: ${state}, keys: [{ backend: main, mount: transit, key: prod }] }\n`,
    new Set(["main"]),
    undefined,
  );
}

const wanted = registryOf("suspended");
const earlier = registryOf("active");

/** Answers /readyz with these, one after the other, the last one again and again. */
async function startGateway(t: TestContext, ...answers: readonly unknown[]): Promise<{ url: URL; asked: number }> {
  const server = createServer((request, reply) => {
    assert.equal(request.url, "/readyz");
    reply.end(JSON.stringify(answers[Math.min(state.asked++, answers.length - 1)]));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const state = { url: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`), asked: 0 };
  return state;
}

function holding(registry: Registry, problem = "ok"): unknown {
  return { ready: true, registryVersion: registryDigest(registry), checks: { registry: problem } };
}

test("two programs that hold one registry have one digest, however it is written; another content has another", () => {
  const elsewhere = registryOf("suspended", "{ uid: 01JD9Z6X3QK8V5T7W2M4N6P8RA, generation: 0, name: 'prod', ");
  assert.equal(registryDigest(elsewhere), registryDigest(wanted));
  assert.notEqual(registryDigest(earlier), registryDigest(wanted));
  const labelled = (labels: string) =>
    registryDigest(registryOf("active", `{ labels: ${labels}, name: prod, uid: 01JD9Z6X3QK8V5T7W2M4N6P8RA, `));
  assert.equal(labelled("{ cell: a, b: c }"), labelled("{ b: c, cell: a }"));
  assert.notEqual(labelled("{ cell: a }"), labelled("{ cell: b }"));
  assert.notEqual(labelled("{ cell: a }"), registryDigest(earlier));
});

test("a gateway that has the edit a little later is waited for", async (t) => {
  const gateway = await startGateway(t, holding(earlier), holding(earlier), holding(wanted));
  const said = await waitForGateways({ urls: [gateway.url], areNamed: true }, registryDigest(wanted));
  assert.equal(said, `In force at ${gateway.url.origin}, by their own word.`);
  assert.equal(gateway.asked, 3);
});

test("gateways that keep another registry are named with their own reason", async (t) => {
  const has = await startGateway(t, holding(wanted));
  const rejects = await startGateway(t, holding(earlier, "the newest one is not usable"));
  const blind = await startGateway(t, holding(earlier));
  await assert.rejects(
    waitForGateways({ urls: [has.url, rejects.url, blind.url], areNamed: false }, registryDigest(wanted), 50),
    (error: Error) => {
      assert.equal(error.name, "CliError");
      assert.deepEqual(error.message.split("\n"), [
        "the edit is written, and not every gateway has it in force:",
        `  - gateway ${rejects.url.origin}: the newest one is not usable`,
        `  - gateway ${blind.url.origin}: it still has another registry; does it read this one?`,
      ]);
      return true;
    },
  );
});

test("one that does not answer, or is no gateway, is an error where it was named, and otherwise said", async (t) => {
  const other = await startGateway(t, { hello: "world" });
  const gone = createServer();
  await new Promise<void>((resolve) => gone.listen(0, "127.0.0.1", resolve));
  const nobody = new URL(`http://127.0.0.1:${(gone.address() as AddressInfo).port}`);
  await new Promise((resolve) => gone.close(resolve));
  const named = waitForGateways({ urls: [nobody, other.url], areNamed: true }, registryDigest(wanted), 50);
  await assert.rejects(
    named,
    /gateway http:\/\/127\.0\.0\.1:\d+: ECONNREFUSED: nothing listens there.*\n.*: what answers there is no gateway/,
  );
  for (const urls of [[], [nobody]])
    assert.match(
      await waitForGateways({ urls, areNamed: false }, registryDigest(wanted), 50),
      /^No gateway was heard: whether one has it in force is not known\. .*--gateway http:\/\/HOST:PORT$/,
    );
});

test("edits that are counted: a later one has the earlier one; a gateway that reads a file has not been asked", async (t) => {
  const has = await startGateway(t, { ready: true, registryVersion: "index:7", checks: {} });
  const behind = await startGateway(t, { ready: true, registryVersion: "index:6", checks: {} });
  const file = await startGateway(t, holding(wanted));
  const moving = await startGateway(t, holding(wanted), { ready: true, registryVersion: "index:7", checks: {} });
  const named = (urls: readonly URL[]) => ({ urls, areNamed: true });
  assert.match(await waitForGateways(named([moving.url]), "index:7"), /^In force at/);
  assert.match(await waitForGateways(named([has.url]), "index:7"), /^In force at/);
  assert.match(await waitForGateways(named([has.url]), "index:5"), /^In force at/);
  await assert.rejects(waitForGateways(named([behind.url]), "index:7", 50), /it still has another registry/);
  await assert.rejects(waitForGateways(named([file.url]), "index:7", 50), /it reads a registry of another kind/);
  assert.match(await waitForGateways({ urls: [file.url], areNamed: false }, "index:7", 50), /^No gateway was heard/);
});

test("of several gateways the one that reads keys most seldom counts; who does not say it is passed over", async (t) => {
  const start = async (text: string): Promise<URL> => {
    const server = createServer((request, reply) => {
      assert.equal(request.url, "/metrics");
      reply.end(text);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    t.after(() => {
      server.closeAllConnections();
      server.close();
    });
    return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  };
  const metrics = createMetrics();
  metrics.observeKeyInterval(() => 40_500);
  const [quick, slow, silent] = await Promise.all([
    start("# HELP x\nclaviger_gateway_key_refresh_interval_seconds 10\n"),
    start(await metrics.render()),
    start("claviger_gateway_connections 3\n"),
  ]);
  const gone = new URL("http://127.0.0.1:1");
  assert.deepEqual(await keyIntervalOf([quick, slow, silent, gone]), {
    seconds: 40.5,
    gateways: [quick.origin, slow.origin],
  });
  assert.equal(await keyIntervalOf([silent, gone]), undefined);
  assert.equal(await keyIntervalOf([]), undefined);
});
