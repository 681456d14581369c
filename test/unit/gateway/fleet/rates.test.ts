// How often callers of the fleet service may call, and what is left of a request that nobody can read.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { issueNode, issueOperator } from "@claviger/gateway-core/src/pki/authority.ts";
import { createRates } from "../../../../gateway/fleet/src/rates.ts";
import { pemOf, startWorld } from "./world.ts";

const rates = { operator: 3, node: 1, address: 2 };

suite("calls a second", () => {
  test("an operator who calls without end is refused, and nobody else is", async (t) => {
    const world = await startWorld(t, { rates });
    const [ada, vera] = await Promise.all(["ada", "vera"].map((name) => pemOf(issueOperator({ ca: world.ca, name }))));
    const flood = await Promise.all(Array.from({ length: 60 }, () => world.call("WhoAmI", {}, ada)));
    const refused = flood.filter(({ code }) => code === "resource_exhausted");
    assert.ok(refused.length >= 20 && refused.length <= 30, `${refused.length} refused`);
    assert.match(refused[0]?.message ?? "", /^ada calls more than 3 times a second; try again in \d+ s \('rates' in/);
    assert.equal((await world.call("WhoAmI", {}, vera)).code, "ok");
    const node = await pemOf(issueNode({ ca: world.ca, cluster: "red", node: "n-1" }));
    assert.equal((await world.call("WhoAmI", {}, node)).code, "ok");
    const record = world.records.findLast(({ cause }) => cause?.startsWith("ada calls more") === true);
    assert.deepEqual([record?.outcome, record?.operator, record?.method], ["failed", "ada", "whoAmI"]);
  });

  test("who shows nothing shares what its address has, and takes it from nobody who shows who it is", async (t) => {
    const world = await startWorld(t, { rates });
    const flood = await Promise.all(Array.from({ length: 40 }, () => world.call("EnrollNode", {}, undefined)));
    assert.ok(flood.some(({ code }) => code === "resource_exhausted"));
    const vera = await pemOf(issueOperator({ ca: world.ca, name: "vera" }));
    assert.equal((await world.call("WhoAmI", {}, vera)).code, "ok");
  });

  test("a share fills again by the second", () => {
    let now = 0;
    const taken = createRates(rates, () => now);
    const take = () => taken.take({ kind: "anonymous" }, "192.0.2.1");
    for (let i = 0; i < 20; i += 1) take();
    assert.throws(take, { code: "resource_exhausted", message: /192\.0\.2\.1 calls more than 2 times .* in 1 s/ });
    now += 500;
    take();
    assert.throws(take);
    taken.take({ kind: "anonymous" }, "192.0.2.2");
  });
});

suite("a request that cannot be read", () => {
  test("leaves a record, and is its caller's fault", async (t) => {
    const world = await startWorld(t);
    const vera = await pemOf(issueOperator({ ca: world.ca, name: "vera" }));
    const given = { "content-type": "application/proto" };
    const { code } = await world.call("ListClusters", { "not protobuf": 1 }, vera, undefined, given);
    assert.equal(code, "invalid_argument");
    const [record] = world.records.slice(-1);
    assert.deepEqual(
      [record?.method, record?.outcome, record?.cause, record?.peer],
      ["listClusters", "invalid", "the request is none that this method can read", "127.0.0.1"],
    );
  });
});
