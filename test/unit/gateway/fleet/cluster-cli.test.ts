// `claviger cluster` through the fleet service. (docs/control-plane.md #clusters.)
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { parse } from "yaml";
import { operatorCli } from "./operator-cli.ts";
import { callersOf, startWorld } from "./world.ts";

const reason = ["--reason", "a test"] as const;
const key = ["--backend", "main", "--mount", "transit"] as const;

suite("claviger cluster through the fleet service", () => {
  test("adds a cluster, says what comes next, and prints it as table, JSON and YAML alike", async (t) => {
    const world = await startWorld(t);
    const cli = operatorCli(world, "olga", (await callersOf(world.ca))["operator"]);
    const add = ["cluster", "add", "green", "--label", "team=green", "--expect", "cp-1,cp-2", ...reason] as const;
    const dry = await cli(...add, "--dry-run");
    assert.equal(dry.status, 0, dry.err);
    assert.doesNotMatch(world.registry(), /green/);
    const added = await cli(...add);
    assert.equal(added.status, 0, added.err);
    assert.match(added.out, /^- name: green\n {2}uid: [0-9A-Z]{26}\n/);
    assert.match(added.out, /\nadded through https:\S+\. Next:\n.*vault init.*\n.*node token green\/NODE.*\n.*check/);
    assert.match(world.registry(), /keys: \[\{ backend: main, mount: transit, key: green \}\]/);
    const rows = JSON.parse((await cli("cluster", "list", "-o", "json")).out) as readonly { readonly name: string }[];
    assert.deepEqual(
      rows.map(({ name }) => name),
      ["blue", "green", "red"],
    );
    assert.deepEqual(parse((await cli("cluster", "list", "-o", "yaml")).out), rows);
    assert.match((await cli("cluster", "list", "--show-labels")).out, /\ngreen +active +auto .* team=green\n/);
    const shown = JSON.parse((await cli("cluster", "show", "green", "-o", "json")).out) as unknown;
    assert.deepEqual(shown, rows[1]);
    const text = (await cli("cluster", "show", "green")).out;
    assert.match(text, /^cluster +green\nuid +\S+\nstate +active\n/);
    assert.match(text, /\nexpected nodes +cp-1, cp-2\n/);
    assert.equal((await cli("cluster", "list", "-l", "team=none")).err, "no cluster has such labels");
    const again = await cli(...add);
    assert.deepEqual([again.status, again.out], [1, ""]);
    assert.match(again.err, /^claviger: the fleet service refuses: cluster green is in the registry already$/);
  });

  test("takes a pattern from another cluster, and a uid of one's own", async (t) => {
    const world = await startWorld(t);
    const cli = operatorCli(world, "olga", (await callersOf(world.ca))["operator"]);
    const file = join(world.dir, "red.yaml");
    writeFileSync(file, (await cli("cluster", "show", "red", "-o", "yaml")).out);
    const uid = "01M8CZX875MFSCYTBWR058VXTK";
    const { status, err } = await cli("cluster", "add", "rose", "--from", file, "--uid", uid, ...reason);
    assert.equal(status, 0, err);
    const [red, rose] = await Promise.all(
      ["red", "rose"].map(async (name) => {
        const { out } = await cli("cluster", "show", name, "-o", "json");
        return JSON.parse(out) as Record<string, unknown>;
      }),
    );
    assert.deepEqual(
      { ...rose, etag: "" },
      {
        ...red,
        etag: "",
        name: "rose",
        uid,
        keys: [{ backend: "main", namespace: "", mount: "transit", key: "rose" }],
      },
    );
  });

  test("suspends, labels, edits and removes, each with its reason in the record", async (t) => {
    const world = await startWorld(t);
    const callers = await callersOf(world.ca);
    const [cli, admin] = [operatorCli(world, "olga", callers["operator"]), operatorCli(world, "ada", callers["admin"])];
    const done = async (pattern: RegExp, ...args: readonly string[]): Promise<void> => {
      const { status, out, err } = await admin(...args, ...reason);
      assert.equal(status, 0, err);
      assert.match(out, pattern);
    };
    await done(
      /^red: active → suspended; nothing was changed \(--dry-run\)$/,
      "cluster",
      "suspend",
      "red",
      "--dry-run",
    );
    await done(/^red: active → suspended in https:\S+; gateways that have read/, "cluster", "suspend", "red");
    await done(/^red is suspended already; nothing was changed$/, "cluster", "suspend", "red");
    const resumed = await cli("cluster", "resume", "red", ...reason);
    assert.match(resumed.err, /^claviger: the fleet service refuses: this takes the role admin; olga is operator$/);
    await done(/^red has the labels team=red,env=dev, in https/, "cluster", "label", "red", "env=dev");
    await done(/^red has the labels team=red,env=dev already; nothing/, "cluster", "label", "red", "env=dev");
    const other = await admin("cluster", "label", "red", "env=prod", ...reason);
    assert.match(other.err, /has the label env=dev; give it another value with --overwrite/);
    await done(
      /^red has rotation manual, 9 requests\/s, nodes cp-1, in https/,
      "cluster",
      "edit",
      "red",
      "--rotation",
      "manual",
      "--requests-per-second",
      "9",
      "--expect",
      "cp-1",
    );
    const { etag } = JSON.parse((await cli("cluster", "show", "red", "-o", "json")).out) as { readonly etag: string };
    await done(/nodes of any name/, "cluster", "edit", "red", "--any-node", "--etag", etag);
    const late = await admin("cluster", "edit", "red", "--rotation", "auto", "--etag", etag, ...reason);
    assert.match(late.err, /refuses: red was changed since you looked at it; look at it and do this again$/);
    await done(/Nothing was changed\. To remove it, run this again with --yes\.$/, "cluster", "remove", "red");
    await done(/^red is removed from https|\nred is removed from https/, "cluster", "remove", "red", "--yes");
    assert.doesNotMatch(world.registry(), /name: red/);
    assert.deepEqual([...new Set(world.records.flatMap(({ because }) => because ?? []))], ["a test"]);
  });

  test("exports and imports with uids, in as many requests as it takes", async (t) => {
    const [world, next] = [await startWorld(t), await startWorld(t, { registry: "directory" })];
    const cli = operatorCli(world, "olga", (await callersOf(world.ca))["operator"]);
    const there = operatorCli(next, "olga", (await callersOf(next.ca))["operator"]);
    const file = join(world.dir, "export.yaml");
    const exported = (await cli("cluster", "export")).out;
    const more = Array.from({ length: 230 }, (_, i) => {
      const uid = `01M8CZX875MFSCYTBWR05${String(i).padStart(5, "0")}`;
      return `  - { name: c-${i}, uid: ${uid}, state: active, keys: [{ backend: main, mount: transit, key: c-${i} }] }\n`;
    });
    writeFileSync(file, `${exported}\n${more.join("")}`);
    const dry = await there("cluster", "import", file, "--dry-run", ...reason);
    assert.match(dry.out, /\n230 clusters to add to https:\S+; nothing was changed \(--dry-run\)\.$/);
    const { status, out, err } = await there("cluster", "import", file, ...reason);
    assert.equal(status, 0, err);
    assert.match(out, /^ {2}present {2}blue {2}01M8C.*\n {2}present {2}red .*\n {2}added {4}c-0 {2}01M8CZ/);
    assert.match(out, /\n230 clusters added to https:\S+, each with its uid\.$/);
    const calls = next.records.filter(({ method }) => method === "importClusters");
    assert.deepEqual([calls.length, calls.at(-1)?.target], [9, "c-198, c-199, c-200 and 29 more"]);
    writeFileSync(file, readFileSync(file, "utf8").replace("name: c-229,", "name: c-999,"));
    const conflict = await there("cluster", "import", file, ...reason);
    assert.equal(conflict.status, 1);
    assert.match(conflict.err, /the fleet service refuses: c-999: the uid \S+ is that of c-229/);
  });

  test("a record that is bad is named, as it was last is listed, and not exported as if it were good", async (t) => {
    const world = await startWorld(t);
    const cli = operatorCli(world, "vera", (await callersOf(world.ca))["viewer"]);
    const before = JSON.parse((await cli("cluster", "list", "-o", "json")).out) as unknown;
    world.edit((text) => text.replace("state: active", "state: awake"));
    let listed = await cli("cluster", "list", "-o", "json");
    for (const end = performance.now() + 5000; listed.err === ""; listed = await cli("cluster", "list", "-o", "json"))
      assert.ok(performance.now() < end, "the edit is seen");
    assert.match(listed.err, /^Not all records can be used as they stand: .*clusters\.yaml: clusters\.1\.state: /);
    assert.deepEqual(JSON.parse(listed.out), before);
    const exported = await cli("cluster", "export");
    assert.equal(exported.status, 1);
    assert.match(
      exported.err,
      /^claviger: not all records can be used as they stand, and in their place is what was good/,
    );
    const shown = await cli("cluster", "show", "red");
    assert.match(shown.err, /refuses: .*clusters\.1\.state: /);
  });

  test("says what is wrong with the way it is called", async (t) => {
    const world = await startWorld(t);
    const cli = operatorCli(world, "olga", (await callersOf(world.ca))["operator"]);
    const before = world.registry();
    const rows: readonly (readonly [status: number, says: RegExp, ...args: readonly string[]])[] = [
      [2, /^error: required option '--reason <text>' not specified/, "cluster", "suspend", "red"],
      [2, /argument 'xml' is invalid\. Allowed choices are table, json, yaml/, "cluster", "list", "-o", "xml"],
      [2, /Must be a whole number from 1/, "cluster", "edit", "red", "--requests-per-second", "1.5", ...reason],
      [1, /^claviger: say what is to be changed: --rotation/, "cluster", "edit", "red", ...reason],
      [1, /--expect or|--any-node, not both$/, "cluster", "edit", "red", "--expect", "a", "--any-node", ...reason],
      [1, /^claviger: --expect "N!" must be a lower-case/, "cluster", "edit", "red", "--expect", "N!", ...reason],
      [1, /^claviger: -l "a in b" is no selector/, "cluster", "list", "-l", "a in b"],
      [1, /there is no cluster "none", or it is none of yours$/, "cluster", "show", "none"],
      [1, /^claviger: --uid must be /, "cluster", "add", "x", ...key, "--uid", "1", ...reason],
      [
        1,
        /^claviger: --from: \S+ is no cluster; /,
        "cluster",
        "add",
        "x",
        "--from",
        join(world.dir, "olga.yaml"),
        ...reason,
      ],
      [1, /^claviger: give --fleet or --direct, not both$/, "cluster", "list", ...cli.options, "--direct"],
      [1, /names a fleet service alone; this command reads the registry itself/, "cluster", "list", "--direct"],
      [1, /^claviger: the fleet service refuses: red is active: suspend it/, "cluster", "remove", "red", ...reason],
    ];
    const admin = operatorCli(world, "ada", (await callersOf(world.ca))["admin"]);
    for (const [status, says, ...args] of rows) {
      const ran = await (args.includes("remove") ? admin : cli)(...args);
      assert.match(ran.err, says);
      assert.equal(ran.status, status, args.join(" "));
    }
    assert.equal(world.registry(), before);
    assert.equal((await cli("cluster", "list", ...cli.options)).status, 0);
  });
});
