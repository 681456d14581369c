// `claviger key` through the fleet service. (docs/control-plane.md #keys.)
import assert from "node:assert/strict";
import { suite, test, type TestContext } from "node:test";
import { parse } from "yaml";
import { encodeEnvelope } from "@claviger/gateway-core/src/key/envelope.ts";
import { backendName, clusterUid, keyId } from "@claviger/proto/wire/names.ts";
import { startFakeEtcd } from "../cli/fake-etcd.ts";
import { storedValue } from "../cli/key-fleet.ts";
import { operatorCli } from "./operator-cli.ts";
import { callersOf, startWorld } from "./world.ts";

const reason = ["--reason", "a test"] as const;
const uid = clusterUid.parse("01M8CZX875MFSCYTBWR058VXTG");

/** What kube-apiserver stores under a version of blue's key. */
function object(version: number, id: string): Buffer {
  const wraps = [{ backend: backendName.parse("main"), key: "transit/blue", version, ciphertext: Buffer.alloc(40, 1) }];
  return storedValue("kms", id, encodeEnvelope({ clusterUid: uid, keyId: keyId.parse(id), wraps }));
}

async function site(t: TestContext) {
  const world = await startWorld(t);
  const callers = await callersOf(world.ca);
  const [cli, admin] = [operatorCli(world, "olga", callers["operator"]), operatorCli(world, "ada", callers["admin"])];
  const keyIdOf = async (): Promise<string> =>
    (JSON.parse((await cli("key", "status", "blue", "-o", "json")).out) as { readonly keyId: string }).keyId;
  return { world, cli, admin, keyIdOf };
}

suite("claviger key through the fleet service", () => {
  test("shows, rotates and promotes, as text, JSON and YAML", async (t) => {
    const { cli } = await site(t);
    const said = async (pattern: RegExp, ...args: readonly string[]): Promise<void> => {
      const { status, out, err } = await cli("key", ...args);
      assert.equal(status, 0, err);
      assert.match(out, pattern);
    };
    await said(/no version is promoted yet/, "status", "blue");
    await said(/^blue: version 1 would encrypt; nothing was changed \(--dry-run\)\.$/, "promote", "blue", "--dry-run");
    await said(/^blue: version 1 encrypts from now on\.$/, "promote", "blue", ...reason);
    await said(/^blue: main: transit\/blue would have version 2; nothing/, "rotate", "blue", "--dry-run");
    await said(/^blue: main: transit\/blue has version 2 now\.$/, "rotate", "blue", ...reason);
    await said(/^1 +\S+Z +\d+s +encrypts\n2 +\S+Z +\d+s +waits for promotion$/m, "status", "blue");
    await said(/^blue: version 2 encrypts from now on\.$/, "promote", "blue", ...reason);
    await said(/^blue: version 2 is the latest and encrypts already; nothing/, "promote", "blue", ...reason);
    const json = JSON.parse((await cli("key", "status", "blue", "-o", "json")).out) as Record<string, unknown>;
    const yaml = parse((await cli("key", "status", "blue", "-o", "yaml")).out) as Record<string, unknown>;
    assert.deepEqual(Object.keys(yaml), Object.keys(json));
    assert.deepEqual([json["cluster"], json["promoted"], json["minDecryptionVersion"]], ["blue", 2, 1]);
    await said(
      /^CLUSTER +KEY +ROTATION +ENCRYPTS +AGE +LATEST .*\nblue +main: transit\/blue +auto +2 +\d+s +2 +1\nred +main: transit\/red +auto +none +1 +1$/,
      "status",
    );
    const list = JSON.parse((await cli("key", "status", "-l", "team=blue", "--json")).out) as readonly {
      readonly keyId: string;
    }[];
    assert.deepEqual(
      list.map((keys) => keys.keyId),
      [json["keyId"]],
    );
    const late = await cli("key", "rotate", "blue", "--wait", "--timeout", "1", ...reason);
    assert.match(late.err, /^waiting for a gateway to promote version 3; version 2 encrypts/);
    assert.match(late.err, /claviger: version 3 is not promoted after 1 s; is a gateway running/);
    await said(/^blue: version 6 encrypts from now on\.$/, "rotate", "blue", "--above", "5", ...reason);
  });

  test("counts the etcd and retires what it does not need, where the nodes show the new key_id", async (t) => {
    const { world, cli, admin, keyIdOf } = await site(t);
    await cli("key", "promote", "blue", ...reason);
    const first = await keyIdOf();
    await cli("key", "rotate", "blue", ...reason);
    await cli("key", "promote", "blue", ...reason);
    const second = await keyIdOf();
    const etcd = await startFakeEtcd();
    etcd.values = [object(1, first)];
    t.after(() => etcd.stop());
    const now = Date.now();
    world.observe = () =>
      Promise.resolve({
        kind: "known",
        entries: new Map([
          ["blue", [{ event: "reported", node: "cp-1", keyId: second, since: now - 3_600_000, at: now - 1000 }]],
        ]),
      });
    const retire = (...args: readonly string[]) =>
      admin("key", "retire", "blue", "--etcd", etcd.url, "--nodes", "1", ...reason, ...args);
    const held = await retire("--yes");
    assert.equal(held.status, 1);
    assert.match(
      held.err,
      /^claviger: the fleet service refuses: the versions below 2 of main:transit\/blue are not retired:\n/,
    );
    assert.match(
      held.err,
      /1 objects? of cluster blue still need version 1, e\.g\. \/registry\/secrets\/default\/s0000/,
    );
    etcd.values = [object(2, second)];
    const looked = await retire();
    assert.equal(looked.status, 0, looked.err);
    assert.match(looked.out, /^Nothing needs the versions 1 to 1 of main:transit\/blue: .*\nNothing was changed\./s);
    const operator = await cli("key", "retire", "blue", "--etcd", etcd.url, "--nodes", "1", ...reason, "--yes");
    assert.match(operator.err, /this takes the role admin; olga is operator/);
    const done = await retire("--yes");
    assert.equal(done.status, 0, done.err);
    assert.match(done.out, /^blue: retired the versions 1 to 1 of main:transit\/blue; they decrypt nothing any more\./);
    assert.match((await retire("--yes")).out, /^blue: no version below 2 of main:transit\/blue decrypts; nothing/);
    const back = await admin("key", "unretire", "blue", "--from", "1", "--dry-run");
    assert.match(back.out, /the versions from 1 on would decrypt again; nothing was changed/);
    assert.match((await admin("key", "unretire", "blue", "--from", "1", ...reason)).out, /decrypt again\.$/);
  });

  test("a count is told, and shown with its age", async (t) => {
    const { cli, keyIdOf, world } = await site(t);
    await cli("key", "promote", "blue", ...reason);
    const etcd = await startFakeEtcd();
    etcd.values = [object(1, await keyIdOf()), object(1, await keyIdOf())];
    t.after(() => etcd.stop());
    const usage = (...args: readonly string[]) => cli("key", "usage", "blue", "--etcd", etcd.url, ...args);
    const objects = async (): Promise<string | undefined> =>
      /^1 +\S+Z +\d+s +(\d+ )?/m.exec((await cli("key", "status", "blue")).out)?.[1]?.trim();
    for (const args of [["--no-report"], ["--prefix", "/registry/secrets/"]]) {
      const ran = await usage(...args);
      assert.deepEqual([ran.status, ran.err.includes("not show")], [0, false], ran.err);
      assert.equal(await objects(), undefined, args.join(" "));
    }
    const { status, out, err } = await usage();
    assert.equal(status, 0, err);
    assert.match(out, /^2 +blue +main: transit\/blue +1 +clv1\.\S+ +not tried/m);
    assert.equal(await objects(), "2");
    assert.match((await cli("key", "status", "blue")).out, /^counted {3}\d+s ago by olga$/m);
    assert.match((await cli("key", "status")).out, /^blue .* 2 +\d+s ago$/m);
    const viewer = operatorCli(world, "vera", (await callersOf(world.ca))["viewer"]);
    const ran = await viewer("key", "usage", "blue", "--etcd", etcd.url);
    assert.equal(ran.status, 0);
    assert.match(ran.err, /'claviger key status' will not show this count: .* takes the role operator; vera is viewer/);
    assert.match((await cli("key", "usage", "none", "--etcd", etcd.url)).err, /there is no cluster "none"/);
  });

  test("an object that appears with an earlier version meanwhile brings it back", async (t) => {
    const { world, cli, admin, keyIdOf } = await site(t);
    await cli("key", "promote", "blue", ...reason);
    const first = await keyIdOf();
    await cli("key", "rotate", "blue", ...reason);
    await cli("key", "promote", "blue", ...reason);
    const second = await keyIdOf();
    const etcd = await startFakeEtcd();
    etcd.values = [object(2, second)];
    t.after(() => etcd.stop());
    // Between the first count and the second.
    world.observe = () => {
      etcd.values = [object(1, first)];
      return Promise.resolve({ kind: "unknown", why: "a test" });
    };
    const args = ["--etcd", etcd.url, "--nodes-checked", ...reason, "--yes"];
    const { status, err } = await admin("key", "retire", "blue", ...args);
    assert.equal(status, 1);
    assert.match(err, /^Not known: whether a node still decrypts under an earlier key_id \(a test\)\. You have said/);
    assert.match(
      err,
      /retired the versions 1 to 1 of main:transit\/blue, and took it back at once:\n {2}- 1 object of/,
    );
    const { out } = await cli("key", "status", "blue", "-o", "json");
    assert.equal((JSON.parse(out) as { readonly minDecryptionVersion: number }).minDecryptionVersion, 1);
  });

  test("says what is wrong with the way it is called", async (t) => {
    const { world, admin } = await site(t);
    const rows: readonly (readonly [status: number, says: RegExp, ...args: readonly string[]])[] = [
      [2, /^error: required option '--reason <text>' not specified/, "rotate", "blue"],
      [2, /^error: required option '--reason <text>' not specified/, "promote", "blue"],
      [2, /^error: required option '--reason <text>' not specified/, "retire", "blue", "--etcd", "http://127.0.0.1:9"],
      [2, /^error: required option '--reason <text>' not specified/, "unretire", "blue", "--from", "1"],
      [2, /Must be a whole number/, "unretire", "blue", "--from", "1.5", ...reason],
      [1, /^claviger: say what is to be counted: --etcd URL/, "retire", "blue", ...reason],
      [
        1,
        /--etcd none=…: cluster none does not use the key of blue$/,
        "retire",
        "blue",
        "--etcd",
        "none=http://x",
        ...reason,
      ],
      [
        1,
        /--nodes many is not a number of nodes$/,
        "retire",
        "blue",
        "--etcd",
        "http://x",
        "--nodes",
        "many",
        ...reason,
      ],
      [1, /refuses: transit\/blue has no version 9; its latest is 1$/, "unretire", "blue", "--from", "9", ...reason],
      [1, /refuses: there is no cluster "none", or it is none of yours$/, "status", "none"],
      [1, /^claviger: -l "a in b" is no selector/, "status", "-l", "a in b"],
      [2, /^error: missing required argument 'cluster': the keys of all clusters takes/, "status", "--direct"],
    ];
    for (const [status, says, ...args] of rows) {
      const ran = await admin("key", ...args);
      assert.match(ran.err, says);
      assert.equal(ran.status, status, args.join(" "));
    }
    assert.equal(
      world.keys().match(/"change":/g)?.length,
      1,
      "the key was made by the first look at it, and not changed",
    );
  });
});
