import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { addressesOf, addressStatus, gatewayStatus, partsOf } from "@claviger/console/src/model/parts.ts";

const gateway = (name: string, up: readonly string[], down: readonly string[] = [], more: object = {}) => ({
  name,
  backends: [{ name: "main", addressesUp: up, addressesDown: down }],
  ...more,
});
const toneOf = (parts: ReturnType<typeof partsOf>, id: string) => parts.find((part) => part.id === id)?.status.tone;

suite("the parts of a site", () => {
  test("of what nothing is known, nothing is well", () => {
    const parts = partsOf(undefined, undefined);
    assert.deepEqual(
      parts.filter(({ status }) => status.tone === "good"),
      [],
    );
    assert.equal(toneOf(parts, "fleet"), "critical");
  });

  test("a site that is well is good in every part", () => {
    const parts = partsOf(
      { clusters: { active: 2 }, nodes: { ok: 4 } },
      { gateways: [gateway("a", ["https://vault-1"]), gateway("b", ["https://vault-1"])] },
    );
    assert.deepEqual(
      parts.filter(({ status }) => status.tone !== "good"),
      [],
    );
  });

  test("no gateway is critical where that is known, and unknown where it is not", () => {
    assert.equal(toneOf(partsOf({}, { gateways: [] }), "gateways"), "critical");
    assert.equal(toneOf(partsOf({}, { gateways: [], incomplete: "Redis is away" }), "gateways"), "unknown");
  });

  test("a gateway that was silent says nothing of addresses any more", () => {
    const late = gateway("a", ["https://vault-1"], [], { ageSeconds: "60" });
    assert.deepEqual(addressesOf([late]), []);
    assert.equal(gatewayStatus(late).tone, "critical");
  });

  test("an address is up, down, or up for some", () => {
    const found = addressesOf([gateway("a", ["x", "y"], ["z"]), gateway("b", ["x"], ["y", "z"])]);
    assert.deepEqual(
      found.map((one) => [one.address, addressStatus(one).word]),
      [
        ["x", "up"],
        ["y", "up for some"],
        ["z", "down"],
      ],
    );
  });

  test("the worst of a gateway is told first", () => {
    const down = gateway("a", [], ["x"], { problems: { redis: "away" } });
    assert.equal(gatewayStatus(down).word, "backend down");
    assert.equal(gatewayStatus(gateway("a", ["x"], [], { problems: { redis: "away" } })).tone, "warning");
    assert.equal(gatewayStatus(gateway("a", ["x"], [], { problems: { process: "draining" } })).word, "stops");
  });

  test("Redis that cannot be read is not well, whatever gateways said", () => {
    const parts = partsOf({ attention: [{ kind: "nodes_unknown" }] }, { gateways: [gateway("a", ["x"])] });
    assert.equal(toneOf(parts, "redis"), "warning");
  });
});
