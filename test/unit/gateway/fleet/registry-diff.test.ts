// `claviger registry diff`: files of records held against the registry of a fleet service.
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { operatorCli } from "./operator-cli.ts";
import { callersOf, startWorld } from "./world.ts";

test("what stands in the files alone, in the registry alone, and otherwise, is told with both values", async (t) => {
  const world = await startWorld(t);
  const callers = await callersOf(world.ca);
  const cli = operatorCli(world, "olga", callers["operator"]);
  const file = join(world.dir, "in-git.yaml");
  const diff = (from: string, ...args: readonly string[]) => cli("registry", "diff", "--from", from, ...args);
  writeFileSync(file, (await cli("cluster", "export")).out);
  assert.deepEqual(await diff(file), { status: 0, out: "", err: `the registry is what ${file} says` });

  const edited = ["cluster", "label", "red", "env=prod", "--reason", "a test"];
  assert.equal((await cli(...edited)).status, 0);
  const ran = await diff(file);
  assert.equal(ran.status, 3, ran.err);
  assert.match(ran.out, /^red +differs +labels: \{"team":"red"\} → \{"team":"red","env":"prod"\}$/m);
  assert.doesNotMatch(ran.out, /blue|etag/);
  const [first] = JSON.parse((await diff(file, "-o", "json")).out) as readonly { readonly what: string }[];
  assert.equal(first?.what, "differs");

  const directory = join(world.dir, "records");
  mkdirSync(directory);
  const record = "uid: 01M8CZX875MFSCYTBWR058VXTZ\nstate: active\nrotation: auto\ngeneration: 1\n";
  const keys = "keys: [{ backend: main, mount: transit, key: teal }]\n";
  writeFileSync(join(directory, "teal.yaml"), `name: teal\n${record}${keys}`);
  const { out, status } = await diff(directory);
  assert.equal(status, 3);
  assert.match(out, /^blue +only in the registry$[^]*^red +only in the registry$[^]*^teal +only in the files$/m);
  const missing = await diff(join(world.dir, "none.yaml"));
  assert.equal(missing.status, 1);
  assert.match(missing.err, /none\.yaml/);
});
