// A directory of records: how edits arrive, and what is wrong with files rather than with records.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, constants, openSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { test, type TestContext } from "node:test";
import { openDirectoryRegistry } from "@claviger/gateway-core/src/registry/directory.ts";
import type { RegistryStore } from "@claviger/gateway-core/src/registry/port.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { clusterName, clusterUid } from "@claviger/proto/wire/names.ts";
import { stringify } from "yaml";
import { cluster, silent } from "../../fakes.ts";

const backends = new Set(["main"]);
const [prod, lab] = ["prod", "lab"].map((name) => clusterName.parse(name)) as [
  ClusterRecord["name"],
  ClusterRecord["name"],
];
const ofLab = { name: lab, uid: clusterUid.parse("01JD9Z6X3QK8V5T7W2M4N6P8RB") };

function text(change: Partial<ClusterRecord> = {}): string {
  return stringify(cluster(change));
}

async function createDirectory(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "claviger-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

async function open(t: TestContext, directory: string): Promise<RegistryStore> {
  const registry = await openDirectoryRegistry({ directory, backends, log: silent });
  t.after(() => registry.close());
  return registry;
}

async function until(condition: () => boolean, milliseconds = 1000): Promise<void> {
  for (const end = performance.now() + milliseconds; !condition(); await sleep(5))
    assert.ok(performance.now() < end, "it took too long");
}

test("a ConfigMap's swap of a symlink is seen within a second", async (t) => {
  const directory = await createDirectory(t);
  const publish = async (version: string, state: ClusterRecord["state"]): Promise<void> => {
    await mkdir(join(directory, `..${version}`));
    await writeFile(join(directory, `..${version}`, "prod.yaml"), text({ state }));
    await symlink(`..${version}`, join(directory, "..data_tmp"));
    await rename(join(directory, "..data_tmp"), join(directory, "..data"));
  };
  await publish("1", "active");
  await symlink(join("..data", "prod.yaml"), join(directory, "prod.yaml"));
  const registry = await open(t, directory);
  assert.equal(registry.get(prod)?.state, "active");
  await publish("2", "suspended");
  await until(() => registry.get(prod)?.state === "suspended");
});

test("an edit in place that keeps the size, right after the last one, is seen within seconds", async (t) => {
  const directory = await createDirectory(t);
  const file = join(directory, "prod.yaml");
  await writeFile(file, text({ generation: 1 }));
  const registry = await open(t, directory);
  for (const generation of [2, 3, 4, 5]) {
    await writeFile(file, text({ generation }));
    await until(() => registry.get(prod)?.generation === generation, 3000);
  }
});

test("files that hold no record are passed over; a file that is called otherwise than its record is named", async (t) => {
  const directory = await createDirectory(t);
  await writeFile(join(directory, "README.md"), "# nothing");
  await writeFile(join(directory, ".prod.yaml.swp"), "\0");
  await writeFile(join(directory, "prod.yaml"), text());
  await writeFile(join(directory, "alias.yml"), text());
  const registry = await open(t, directory);
  assert.equal(registry.get(prod)?.name, "prod");
  assert.match(registry.problem() ?? "", /alias\.yml: name: must be alias, as the file is called/);
  assert.throws(() => registry.get(clusterName.parse("alias")), { reason: "backend_unavailable" });
});

test("a file that is no YAML, and one that cannot be read, keep their own last good state and hold up no other", async (t) => {
  const directory = await createDirectory(t);
  await writeFile(join(directory, "prod.yaml"), text());
  await writeFile(join(directory, "lab.yaml"), text(ofLab));
  const registry = await open(t, directory);
  await writeFile(join(directory, "prod.yaml"), "name: [\n");
  await writeFile(join(directory, "lab.yaml"), text({ ...ofLab, state: "suspended", generation: 1 }));
  await until(() => registry.get(lab)?.state === "suspended");
  await until(() => registry.problem() !== undefined);
  assert.equal(registry.get(prod)?.state, "active");
  await rm(join(directory, "prod.yaml"));
  await mkdir(join(directory, "prod.yaml"));
  await until(() => /prod\.yaml: cannot be read \(EISDIR\)/.test(registry.problem() ?? ""), 3000);
  assert.equal(registry.get(prod)?.state, "active");
});

test("where the directory is empty or gone nobody was removed", async (t) => {
  const directory = await createDirectory(t);
  await writeFile(join(directory, "prod.yaml"), text());
  const registry = await open(t, directory);
  await rm(join(directory, "prod.yaml"));
  await until(() => /there is no record, NAME\.yaml, in it/.test(registry.problem() ?? ""));
  assert.equal(registry.get(prod)?.state, "active");
  await rm(directory, { recursive: true });
  await until(() => /cannot be read \(ENOENT\)/.test(registry.problem() ?? ""), 3000);
  assert.equal(registry.get(prod)?.state, "active");
  await mkdir(directory);
  await writeFile(join(directory, "prod.yaml"), text({ state: "suspended", generation: 1 }));
  await until(() => registry.get(prod)?.state === "suspended", 3000);
});

test("a list of removed clusters that never ends is said, and holds up nothing", async (t) => {
  const directory = await createDirectory(t);
  await writeFile(join(directory, "prod.yaml"), text());
  const registry = await open(t, directory);
  const list = join(directory, "removed-uids");
  execFileSync("mkfifo", [list]);
  await writeFile(join(directory, "prod.yaml"), text({ state: "suspended" }));
  await until(() => /no answer from the file system/.test(registry.problem() ?? ""), 10_000);
  assert.equal(registry.get(prod)?.state, "active");
  // The read ends.
  closeSync(openSync(list, constants.O_RDWR | constants.O_NONBLOCK));
});

test("an empty one serves nobody until there is a record; one that is not there fails the start", async (t) => {
  const directory = await createDirectory(t);
  const registry = await open(t, directory);
  assert.throws(() => registry.get(prod), { reason: "backend_unavailable" });
  await writeFile(join(directory, "prod.yaml"), text());
  await until(() => registry.problem() === undefined);
  assert.equal(registry.get(prod)?.state, "active");
  await assert.rejects(
    openDirectoryRegistry({ directory: join(directory, "none"), backends, log: silent }),
    /cannot be read \(ENOENT\)/,
  );
});
