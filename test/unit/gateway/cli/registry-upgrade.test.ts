// From the one document of 0.1.0 to a document for each cluster: interrupted at every point, repeated,
// and with an edit in between.
import assert from "node:assert/strict";
import { test } from "node:test";
import { vaultEditor, type VaultEditor } from "@claviger/gateway-core/src/registry/edit/vault.ts";
import type { DocumentRef, Documents } from "@claviger/gateway-core/src/backend/port.ts";
import { clusterAt, indexAt, movedDocument } from "@claviger/gateway-core/src/registry/documents.ts";
import { documentOf, vaultRegistrySchema } from "@claviger/gateway-core/src/registry/vault.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { clusterName, clusterUid } from "@claviger/proto/wire/names.ts";
import { createFakeDocuments, type FakeDocuments } from "../core/registry/fakes.ts";
import { cluster } from "../fakes.ts";

const config = vaultRegistrySchema.parse({ kind: "vault", backend: "main", mount: "claviger" });
const root = documentOf(config);
const backends = new Set(["main"]);
const records = ["a", "b", "c"].map((name, i) =>
  cluster({ name: clusterName.parse(name), uid: clusterUid.parse(`01JD9Z6X3QK8V5T7W2M4N6P8R${i}`), generation: i }),
);

function editorOf(documents: Documents): VaultEditor {
  return vaultEditor({
    config,
    backends,
    withDocuments: (use) => use(documents),
    announce: () => Promise.resolve(),
  });
}

function createOld(clusters: readonly unknown[] = records): FakeDocuments {
  const vault = createFakeDocuments();
  vault.set(root, { clusters });
  return vault;
}

function read(vault: FakeDocuments, at: DocumentRef) {
  return vault.readDocument(at, AbortSignal.timeout(1000));
}

test("every cluster has its own document with its uid, and the one document says that it was moved", async () => {
  const vault = createOld([{ ...records[0], previousKeys: undefined, former: [] }, ...records.slice(1)]);
  const editor = editorOf(vault);
  const { written, present, isMoved, version } = await editor.upgrade();
  assert.deepEqual([written.toSorted(), present, isMoved, version], [["a", "b", "c"], [], true, "index:3"]);
  assert.deepEqual([...(await editor.all()).values()], records);
  assert.deepEqual((await read(vault, root))?.data, movedDocument);
  const again = await editor.upgrade();
  assert.deepEqual([again.written, again.isMoved], [[], false]);
  assert.deepEqual([...(await editor.all()).values()], records);
});

test("interrupted after any number of writes it can be run again, and nothing counts before all is there", async () => {
  for (let allowed = 0; ; allowed += 1) {
    const vault = createOld();
    let left = allowed;
    const cut: Documents = {
      ...vault,
      writeDocument: (...given) =>
        left-- > 0 ? vault.writeDocument(...given) : Promise.reject(new KmsError("backend_unavailable")),
    };
    const wasWhole = await editorOf(cut)
      .upgrade()
      .then(
        () => true,
        () => false,
      );
    // Meanwhile the registry is edited, wherever it counts.
    await editorOf(vault).change("b", () => ({ state: "suspended" }));
    await editorOf(vault).remove("c");
    await editorOf(vault).upgrade();
    const after = [...(await editorOf(vault).all()).values()];
    assert.deepEqual(
      after.map(({ name, uid, state, generation }) => [name, uid, state, generation]),
      [
        ["a", records[0]?.uid, "active", 0],
        ["b", records[1]?.uid, "suspended", 2],
      ],
      `after ${allowed} writes`,
    );
    assert.notEqual(await read(vault, indexAt(root)), undefined);
    if (wasWhole) {
      assert.ok(allowed > 8, String(allowed));
      return;
    }
  }
});

test("an edit while it runs is not lost: it is run again", async () => {
  const vault = createOld();
  const edited: Documents = {
    ...vault,
    async writeDocument(at, data, version, signal) {
      if (at.path === root.path) vault.set(root, { clusters: records.slice(1) });
      return await vault.writeDocument(at, data, version, signal);
    },
  };
  await assert.rejects(editorOf(edited).upgrade(), /was changed at the same time; run this again/);
  assert.equal((await editorOf(vault).all()).size, 2);
  await editorOf(vault).upgrade();
  assert.equal((await editorOf(vault).all()).size, 2);
});

test("of two edits at the same time one is refused, and a uid stands under one name for ever", async () => {
  const vault = createFakeDocuments();
  const editor = editorOf(vault);
  const [first = cluster(), second = cluster()] = records;
  await editor.add([first]);
  await assert.rejects(editor.add([first]), /is in the registry already/);
  await assert.rejects(editor.add([{ ...second, uid: first.uid }]), /the uid .* is that of a, for life/);
  await editor.remove("a");
  await assert.rejects(editor.one("a"), /not in the registry/);
  await assert.rejects(editor.add([first]), /is that of the a that was removed; a new cluster gets a new one/);
  await assert.rejects(editor.add([{ ...second, uid: first.uid }]), /the uid .* is that of a, which was removed, for/);
  await editor.add([first], { restores: true });
  const states = ["suspended", "decrypt-only"] as const;
  const outcomes = await Promise.allSettled(states.map((state) => editor.change("a", () => ({ state }))));
  assert.deepEqual(outcomes.map(({ status }) => status).toSorted(), ["fulfilled", "rejected"]);
  assert.equal((await editor.one("a")).generation, first.generation + 1);
});

test("a bad document is named and not written over", async () => {
  const vault = createFakeDocuments();
  const editor = editorOf(vault);
  for (const record of records) await editor.add([record]);
  vault.set(clusterAt(root, clusterName.parse("b")), { ...records[1], state: "on" });
  await assert.rejects(
    editor.change("b", () => ({ state: "suspended" })),
    /clusters\/b: state: /,
  );
  await assert.rejects(editor.all(), /clusters\/b: state: /);
  assert.equal((await editor.change("a", () => ({ state: "suspended" }))).earlier.state, "active");
});

test("where there is nothing to move, and where two registries stand side by side, it says so and changes nothing", async () => {
  await assert.rejects(editorOf(createFakeDocuments()).upgrade(), /there is no registry yet/);
  const vault = createOld();
  vault.set(indexAt(root), { sequence: 4, changed: [] });
  await assert.rejects(editorOf(vault).upgrade(), /there are an index and a document for all clusters/);
  assert.deepEqual((await read(vault, root))?.data, JSON.parse(JSON.stringify({ clusters: records })));
});
