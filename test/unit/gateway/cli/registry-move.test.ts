// Records leave a registry and enter another, with their uids.
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { readRegistry, removeRecord } from "@claviger/gateway-core/src/registry/edit/text.ts";
import { textEditor } from "@claviger/gateway-core/src/registry/edit/editor.ts";
import { importRecords, printRegistry } from "@claviger/cli/src/registry-move.ts";
import { fileSource, type RegistrySource } from "@claviger/gateway-core/src/registry/edit/source.ts";

const full = `# the fleet
clusters:
  # oldest first
  - name: prod-eu   # Frankfurt
    uid: 01JD9Z6X3QK8V5T7W2M4N6P8RA
    generation: 3
    state: suspended
    rotation: manual
    keys: [{ backend: main, namespace: team, mount: transit, key: prod-eu }]
    previousKeys: [{ backend: main, mount: old, key: "1e3" }]
    issuer: sha256:${"ab".repeat(32)}
    limits: { requestsPerSecond: 7 }
  # a small one
  - { name: lab, uid: 01JD9Z6X3QK8V5T7W2M4N6P8RB, state: active, keys: [{ backend: main, mount: transit, key: lab }] }
`;

type Site = { readonly file: string; readonly registry: RegistrySource; readonly text: () => string };

function siteOf(t: TestContext, text?: string): Site {
  const dir = mkdtempSync(join(tmpdir(), "claviger-move-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const file = join(dir, "clusters.yaml");
  if (text !== undefined) writeFileSync(file, text);
  return { file, registry: fileSource({ file, backends: new Set(["main"]) }), text: () => readFileSync(file, "utf8") };
}

function take(to: Site, text: string, dryRun = false): ReturnType<typeof importRecords> {
  return importRecords(textEditor(to.registry), { source: "export.yaml", text, dryRun });
}

test("what export prints is the same registry where it is imported, every field of it, and twice changes nothing", async (t) => {
  const [from, to] = [siteOf(t, full), siteOf(t)];
  const before = await readRegistry(from.registry);
  const printed = printRegistry(before);
  const first = await take(to, printed);
  assert.deepEqual([first.added.map(({ name }) => name), first.present], [["prod-eu", "lab"], []]);
  assert.deepEqual([...(await readRegistry(to.registry))], [...before]);
  const written = to.text();
  const second = await take(to, printed);
  assert.deepEqual([second.added, second.present.map(({ name }) => name)], [[], ["prod-eu", "lab"]]);
  assert.equal(to.text(), written);
  assert.equal(printRegistry(await readRegistry(to.registry)), printed);
});

test("an import adds what is missing and leaves what is there as it is written", async (t) => {
  const [from, to] = [siteOf(t, full), siteOf(t, full)];
  await removeRecord(to.registry, "lab");
  const { added, present } = await take(to, from.text());
  assert.deepEqual([added.map(({ name }) => name), present.map(({ name }) => name)], [["lab"], ["prod-eu"]]);
  assert.match(to.text(), /- name: prod-eu {3}# Frankfurt/);
});

test("an import with anything wrong changes nothing, and names all of it", async (t) => {
  const to = siteOf(t, full);
  const text = `clusters:
  - { name: thief, uid: 01JD9Z6X3QK8V5T7W2M4N6P8RA, state: active, keys: [{ backend: main, mount: transit, key: thief }] }
  - { name: lab, uid: 01JD9Z6X3QK8V5T7W2M4N6P8RC, state: suspended, keys: [{ backend: main, mount: transit, key: lab }] }
  - { name: far, uid: 01JD9Z6X3QK8V5T7W2M4N6P8RD, state: active, keys: [{ backend: nope, mount: transit, key: far }] }
  - { name: fine, uid: 01JD9Z6X3QK8V5T7W2M4N6P8RE, state: active, keys: [{ backend: main, mount: transit, key: fine }] }
`;
  await assert.rejects(take(to, text), ({ message }: Error) => {
    assert.match(message, /export\.yaml cannot be imported into .*clusters\.yaml: 3 problems/);
    assert.match(message, /thief: the uid 01JD9Z6X3QK8V5T7W2M4N6P8RA is that of prod-eu there, for life/);
    assert.match(message, /lab: is there already, with another uid, state; a record that is there is not changed/);
    assert.match(message, /far: backend nope is not in the gateway's configuration/);
    return true;
  });
  assert.equal(to.text(), full);
});

test("a dry run makes no file", async (t) => {
  const to = siteOf(t);
  assert.equal((await take(to, full, true)).added.length, 2);
  assert.equal(existsSync(to.file), false);
});

test("a record that is removed is gone with its lines, and comments and the other records stay", async (t) => {
  const site = siteOf(t, full);
  const after = await removeRecord(site.registry, "prod-eu");
  assert.deepEqual([...after.keys()], ["lab"]);
  assert.equal(site.text(), full.replace(/ {2}- name: prod-eu[^]*requestsPerSecond: 7 }\n/, ""));
  await removeRecord(site.registry, "lab");
  assert.equal(site.text(), "# the fleet\nclusters:\n  # oldest first\n  # a small one\n  []\n");
  assert.equal((await take(site, full)).added.length, 2);
  assert.equal((await readRegistry(site.registry)).size, 2);
});

test("a record that shares its line with others is left to be removed by hand", async (t) => {
  const record =
    "{ name: lab, uid: 01JD9Z6X3QK8V5T7W2M4N6P8RB, state: active, keys: [{ backend: main, mount: t, key: l }] }";
  const site = siteOf(t, `clusters: [${record}]\n`);
  await assert.rejects(removeRecord(site.registry, "lab"), /edit the file by hand/);
  assert.equal(site.text(), `clusters: [${record}]\n`);
});
