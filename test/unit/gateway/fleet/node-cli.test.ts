// `claviger node revoke`, `allow` and `expect` through the fleet service. (docs/control-plane.md #nodes.)
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { operatorCli } from "./operator-cli.ts";
import { registryText } from "./registry-text.ts";
import { callersOf, startWorld } from "./world.ts";

const reason = ["--reason", "a test"] as const;

suite("claviger node through the fleet service", () => {
  test("refuses a node and a certificate, says so, and does it once", async (t) => {
    const world = await startWorld(t);
    const cli = operatorCli(world, "olga", (await callersOf(world.ca))["operator"]);
    const dry = await cli("node", "revoke", "red/n-1", ...reason, "--dry-run");
    assert.deepEqual([dry.status, world.registry()], [0, registryText], dry.err);
    assert.match(dry.out, /^node n-1 of red is revoked: that is what the record would say; nothing was changed/);
    const revoked = await cli("node", "revoke", "red/n-1", ...reason);
    assert.equal(revoked.status, 0, revoked.err);
    assert.match(revoked.out, /^node n-1 of red is revoked, in https:\S+; gateways that have read this refuse it/);
    assert.match(world.registry(), /revoked: \[n-1\]/);
    const again = await cli("node", "revoke", "red/n-1", ...reason);
    assert.equal(again.out, "node n-1 of red is revoked already; nothing was changed");
    const serial = await cli("node", "revoke", "red", "--serial", "0A:1b", ...reason);
    assert.match(serial.out, /^certificate A1B of red is revoked, in /);
    assert.deepEqual(
      world.records
        .filter(({ outcome, target }) => outcome === "ok" && target === "red/n-1")
        .map(({ because }) => because),
      ["a test", "a test", "a test"],
    );
  });

  test("takes a revocation back for an administrator, and for nobody else", async (t) => {
    const world = await startWorld(t);
    const callers = await callersOf(world.ca);
    const refused = await operatorCli(world, "olga", callers["operator"])("node", "allow", "blue/gone", ...reason);
    assert.deepEqual([refused.status, world.registry()], [1, registryText]);
    assert.match(refused.err, /this takes the role admin; olga is operator/);
    const allowed = await operatorCli(world, "ada", callers["admin"])("node", "allow", "blue/gone", ...reason);
    assert.match(
      allowed.out,
      /^node gone of blue is not revoked, in https:\S+; gateways that have read this serve it\.$/,
    );
    assert.doesNotMatch(world.registry(), /gone/);
  });

  test("says which nodes a cluster has, and again that any is good", async (t) => {
    const world = await startWorld(t);
    const cli = operatorCli(world, "ada", (await callersOf(world.ca))["admin"]);
    const expected = await cli("node", "expect", "red", "cp-2", "cp-1", ...reason);
    assert.match(expected.out, /^red has cp-1, cp-2, in https:\S+; gateways that have read this refuse certificates/);
    assert.match(world.registry(), /expected: \[cp-1, cp-2\]/);
    const any = await cli("node", "expect", "red", "--any", ...reason);
    assert.match(any.out, /^red has nodes of any name, in /);
    assert.doesNotMatch(world.registry(), /expected/);
  });

  test("says what is wrong", async (t) => {
    const world = await startWorld(t);
    const cli = operatorCli(world, "ada", (await callersOf(world.ca))["admin"]);
    for (const [args, status, why] of [
      [["revoke", "red/n-1"], 2, /required option '--reason <text>' not specified/],
      [["revoke", "pink/n-1", ...reason], 1, /there is no cluster "pink", or it is none of yours/],
      [["revoke", "red", ...reason], 1, /give CLUSTER\/NODE, or CLUSTER with --serial/],
      [["expect", "red", ...reason], 1, /give the names of all nodes of the cluster, or --any/],
      [["revoke", "red/N!", ...reason], 1, /"N!" must be a lower-case DNS name/],
    ] as const) {
      const ran = await cli("node", ...args);
      assert.deepEqual([ran.status, ran.out], [status, ""], args.join(" "));
      assert.match(ran.err, why);
    }
    assert.equal(world.registry(), registryText);
  });
});
