import assert from "node:assert/strict";
import { chmod, chown, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { addRecords, readRegistry, recordOf, changeRecord } from "@claviger/gateway-core/src/registry/edit/text.ts";
import { type NewRecord, printRecord } from "@claviger/gateway-core/src/registry/edit/record-text.ts";
import { fileSource } from "@claviger/gateway-core/src/registry/edit/source.ts";
import { backendName, clusterName, clusterUid, keyName, mountPath, nodeName } from "@claviger/proto/wire/names.ts";

const addThis = (one: NewRecord) => addRecords(registry(), () => [one], {});

const text = `# the fleet
clusters:
  # oldest first
  - name: prod-eu   # Frankfurt
    uid: 01JD9Z6X3QK8V5T7W2M4N6P8RA
    state:   "active"   # since 2025
    keys: [{ backend: main, mount: transit, key: prod-eu }]

  - { name: lab, uid: 01JD9Z6X3QK8V5T7W2M4N6P8RB, state: active, keys: [{ backend: main, mount: transit, key: lab }] }
`;

const record: NewRecord = {
  name: clusterName.parse("new"),
  uid: clusterUid.parse("01JD9Z6X3QK8V5T7W2M4N6P8RC"),
  state: "active",
  rotation: "manual",
  keys: [
    {
      backend: backendName.parse("main"),
      namespace: "team-a",
      mount: mountPath.parse("transit"),
      key: keyName.parse("1e3"),
    },
  ],
};

let dir: string;
let file: string;
function registry(of = file) {
  return fileSource({ file: of, backends: new Set(["main"]) });
}
before(async () => {
  dir = await mkdtemp(join(tmpdir(), "claviger-registry-"));
  file = join(dir, "clusters.yaml");
});
after(() => rm(dir, { recursive: true, force: true }));
beforeEach(() => writeFile(file, text));

test("a new state replaces one word, raises the generation, and nothing else, in block and in flow style", async () => {
  const suspended = text.replace('state:   "active"', "generation: 1\n    state:   suspended");
  assert.equal((await changeRecord(registry(), "prod-eu", () => ({ state: "suspended" }))).earlier.state, "active");
  assert.equal(await readFile(file, "utf8"), suspended);
  assert.equal((await changeRecord(registry(), "prod-eu", () => ({ state: "active" }))).earlier.state, "suspended");
  const resumed = suspended.replace("generation: 1", "generation: 2").replace("suspended", "active");
  assert.equal(await readFile(file, "utf8"), resumed);
  assert.equal((await changeRecord(registry(), "lab", () => ({ state: "decrypt-only" }))).earlier.state, "active");
  assert.equal(
    await readFile(file, "utf8"),
    resumed.replace("state: active, ", "generation: 1, state: decrypt-only, "),
  );
});

test("a generation that stands behind the state is raised in its place", async () => {
  await writeFile(file, text.replace("state: active,", "state: active, generation: 9,"));
  await changeRecord(registry(), "lab", () => ({ state: "suspended" }));
  assert.match(await readFile(file, "utf8"), /state: suspended, generation: 10, keys/);
});

test("nodes are written on a line of their own, in place of what is there, in every style", async () => {
  const [one, two] = [nodeName.parse("cp-1"), nodeName.parse("on")];
  const nodes = { expected: [one, two], revoked: [two], revokedSerials: ["1E3"] };
  await changeRecord(registry(), "prod-eu", () => ({ nodes }));
  const written = text.replace(
    'state:   "active"',
    'generation: 1\n    nodes: { expected: [cp-1, "on"], revoked: ["on"], revokedSerials: ["1E3"] }\n    state:   "active"',
  );
  assert.equal(await readFile(file, "utf8"), written);
  assert.deepEqual(recordOf(await readRegistry(registry()), "prod-eu").nodes, nodes);
  await changeRecord(registry(), "prod-eu", () => ({ nodes: {} }));
  assert.match(
    await readFile(file, "utf8"),
    /generation: 2\n {4}nodes: \{\}\n {4}state: {3}"active" {3}# since 2025\n/,
  );
  await changeRecord(registry(), "lab", () => ({ nodes: { revoked: [one] } }));
  assert.match(await readFile(file, "utf8"), /nodes: \{ revoked: \[cp-1\] \}, /);
  const block =
    "nodes:\n      # ours\n      expected:\n        - cp-1\n    keys: [{ backend: main, mount: transit, key: prod-eu }]";
  await writeFile(file, text.replace("keys: [{ backend: main, mount: transit, key: prod-eu }]", block));
  await changeRecord(registry(), "prod-eu", () => ({ nodes: { revoked: [one] } }));
  assert.deepEqual(recordOf(await readRegistry(registry()), "prod-eu").nodes, { revoked: [one] });
  assert.match(await readFile(file, "utf8"), /\n {4}keys: \[\{ backend: main/);
  assert.match(
    printRecord(recordOf(await readRegistry(registry()), "prod-eu")),
    /\n {2}nodes: \{ revoked: \[cp-1\] \}\n/,
  );
});

test("labels are written on a line of their own, or in the lines that are there, and raise no generation", async () => {
  const labels = { cell: "a", "x.io/on": "true", empty: "" };
  await changeRecord(registry(), "prod-eu", () => ({ labels }));
  const written = 'labels: { cell: a, x.io/on: "true", empty: "" }\n    state:   "active"';
  assert.equal(await readFile(file, "utf8"), text.replace('state:   "active"', written));
  assert.deepEqual(recordOf(await readRegistry(registry()), "prod-eu").labels, labels);
  await changeRecord(registry(), "prod-eu", () => ({ labels: {} }));
  assert.match(await readFile(file, "utf8"), /\n {4}labels: \{\}\n {4}state: {3}"active" {3}# since 2025\n/);
  await changeRecord(registry(), "lab", () => ({ labels: { cell: "b" } }));
  assert.match(await readFile(file, "utf8"), /labels: \{ cell: b \}, state: active/);
  const key = "keys: [{ backend: main, mount: transit, key: prod-eu }]";
  const block = (lines: string): string => text.replace(key, `labels:\n${lines}\n    ${key}`);
  await writeFile(file, block("      # ours\n      cell: a"));
  await changeRecord(registry(), "prod-eu", () => ({ labels: { cell: "b", tier: "1" } }));
  assert.equal(await readFile(file, "utf8"), block('      # ours\n      cell: b\n      tier: "1"'));
  await changeRecord(registry(), "prod-eu", () => ({ labels: {} }));
  assert.deepEqual(recordOf(await readRegistry(registry()), "prod-eu").labels, {});
  // What else changes raises it.
  await changeRecord(registry(), "prod-eu", () => ({ labels: { cell: "c" }, state: "suspended" }));
  const { generation, labels: last } = recordOf(await readRegistry(registry()), "prod-eu");
  assert.deepEqual([generation, last], [1, { cell: "c" }]);
  assert.match(printRecord(recordOf(await readRegistry(registry()), "prod-eu")), /\n {2}labels: \{ cell: c \}\n/);
});

test("the state that it has already changes no byte and not the file's time", async () => {
  const { mtimeMs, ino } = await stat(file);
  assert.equal((await changeRecord(registry(), "prod-eu", () => ({ state: "active" }))).earlier.state, "active");
  const now = await stat(file);
  assert.deepEqual([now.mtimeMs, now.ino], [mtimeMs, ino]);
});

test("a cluster that is not there is an error, and the file stays", async () => {
  await assert.rejects(
    changeRecord(registry(), "prod-us", () => ({ state: "suspended" })),
    /"prod-us" is not in the registry/,
  );
  await assert.rejects(
    changeRecord(registry(), "../x\n", () => ({ state: "suspended" })),
    /not in the registry/,
  );
  assert.equal(await readFile(file, "utf8"), text);
});

test("a registry that no gateway would take is not edited", async () => {
  const bad = text.replace("01JD9Z6X3QK8V5T7W2M4N6P8RB", "01JD9Z6X3QK8V5T7W2M4N6P8RA");
  await writeFile(file, bad);
  await assert.rejects(
    changeRecord(registry(), "prod-eu", () => ({ state: "suspended" })),
    /stands twice/,
  );
  assert.equal(await readFile(file, "utf8"), bad);
});

test("mode and symlink are kept", async () => {
  const link = join(dir, "link.yaml");
  await chmod(file, 0o640);
  await symlink(file, link);
  await changeRecord(registry(link), "prod-eu", () => ({ state: "suspended" }));
  assert.equal((await stat(file)).mode & 0o777, 0o640);
  assert.match(await readFile(file, "utf8"), /suspended/);
  assert.equal(await readFile(link, "utf8"), await readFile(file, "utf8"));
  await rm(link);
});

test("the file stays its owner's, with its mode, whoever edits it", {
  skip: process.getuid?.() === 0 ? false : "only root can give a file away",
}, async () => {
  await chown(file, 65_532, 65_531);
  await chmod(file, 0o600);
  await changeRecord(registry(), "lab", () => ({ state: "suspended" }));
  const { uid, gid, mode } = await stat(file);
  assert.deepEqual([uid, gid, mode & 0o777], [65_532, 65_531, 0o600]);
  // Somebody who may write in the directory, and not give files away.
  await chmod(dir, 0o777);
  await chmod(file, 0o644);
  process.seteuid?.(65_534);
  try {
    await assert.rejects(
      changeRecord(registry(), "lab", () => ({ state: "active" })),
      /belongs to user 65532, group 65531, and you may not give it to them: run this with sudo, .*nothing was changed/,
    );
  } finally {
    process.seteuid?.(0);
  }
  assert.equal(recordOf(await readRegistry(registry()), "lab").state, "suspended");
  assert.deepEqual(
    (await readdir(dir)).filter((name) => name.endsWith(".tmp")),
    [],
  );
  await chown(file, 0, 0);
});

test("a new record goes to the end, reads back as it was, and what stood before is untouched", async () => {
  await addThis(record);
  const now = await readFile(file, "utf8");
  assert.equal(now, `${text}${printRecord(record, "  ")}`);
  const read = recordOf(await readRegistry(registry()), "new");
  assert.deepEqual({ ...read.keys[0] }, record.keys[0]);
  assert.equal(read.rotation, "manual");
});

test("the first record of an empty registry is in block style", async () => {
  await writeFile(file, "# none yet\nclusters: []\n");
  await addThis(record);
  assert.equal(await readFile(file, "utf8"), `# none yet\nclusters:\n${printRecord(record, "  ")}`);
  await addThis({
    ...record,
    name: clusterName.parse("next"),
    uid: clusterUid.parse("01JD9Z6X3QK8V5T7W2M4N6P8RD"),
  });
  assert.equal((await readRegistry(registry())).size, 2);
});

test("a name, a uid or a backend that cannot be is refused, and the file stays", async () => {
  await assert.rejects(addThis({ ...record, name: clusterName.parse("lab") }), /already/);
  await assert.rejects(addThis({ ...record, uid: clusterUid.parse("01JD9Z6X3QK8V5T7W2M4N6P8RA") }), /stands twice/);
  await assert.rejects(
    addThis({
      ...record,
      keys: [{ backend: backendName.parse("nope"), mount: mountPath.parse("transit"), key: keyName.parse("k") }],
    }),
    /backend nope/,
  );
  assert.equal(await readFile(file, "utf8"), text);
});

test("the first record makes the registry, for everybody to read; anything else wants one that is there", async () => {
  await rm(file);
  await assert.rejects(readRegistry(registry()), /there is no registry .*: 'claviger cluster add' makes it/);
  await assert.rejects(
    changeRecord(registry(), "lab", () => ({ state: "suspended" })),
    /there is no registry/,
  );
  await addThis(record);
  assert.equal(await readFile(file, "utf8"), `clusters:\n${printRecord(record, "  ")}`);
  assert.equal((await stat(file)).mode & 0o777, 0o644);
});
