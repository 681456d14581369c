// 10,000 clusters: what a list reads of the registry. Its time is measured by test/bench.
// (docs/size.md.)
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import fs from "node:fs";
import promises from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, suite, test } from "node:test";
import type { DocumentRef, Documents } from "@claviger/gateway-core/src/backend/port.ts";
import type { RegistryEditor } from "@claviger/gateway-core/src/registry/edit/editor.ts";
import { printRecord } from "@claviger/gateway-core/src/registry/edit/record-text.ts";
import { newClusterUid } from "@claviger/gateway-core/src/registry/edit/uid.ts";
import { openRegistry, type RegistryConfig } from "@claviger/gateway-core/src/registry/open.ts";
import { checkRecord, type ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { silentLog } from "@claviger/proto/runtime/log.ts";
import { backendName, mountPath, operatorName } from "@claviger/proto/wire/names.ts";
import type { Operator } from "../../../../gateway/fleet/src/caller.ts";
import { createClusterCache } from "../../../../gateway/fleet/src/cluster-cache.ts";
import { clusterMethods } from "../../../../gateway/fleet/src/methods/clusters.ts";
import { anyBackend, openRegistryEditor } from "../../../../gateway/fleet/src/open-registry.ts";
import { createScope } from "../../../../gateway/fleet/src/scope.ts";
import { createFakeDocuments } from "../core/registry/fakes.ts";

const count = 10_000;
const admin: Operator = {
  kind: "operator",
  operator: operatorName.parse("ada"),
  role: "admin",
  mayTouch: () => true,
  clusters: "",
  until: Number.POSITIVE_INFINITY,
};

function recordOf(i: number): ClusterRecord {
  const name = `c-${String(i).padStart(5, "0")}`;
  const { record } = checkRecord({
    name,
    uid: newClusterUid(),
    state: "active",
    labels: { team: `t-${i % 100}` },
    keys: [{ backend: "main", mount: "transit", key: name }],
  });
  assert.ok(record !== undefined);
  return record;
}

function openMethods(t: TestContext, config: RegistryConfig, documents?: Documents) {
  const documentsOf = (): Documents => {
    assert.ok(documents !== undefined);
    return documents;
  };
  const registry: RegistryEditor = openRegistryEditor(config, documentsOf);
  const cache = createClusterCache(
    () => openRegistry({ config, documentsOf, backends: anyBackend, log: silentLog }),
    registry,
  );
  t.after(() => cache.close());
  const { listClusters, setClusterState } = clusterMethods(createScope(registry, cache));
  const list = async (request: { readonly pageToken?: string; readonly selector?: string }) =>
    await listClusters({ pageSize: 1000, pageToken: "", selector: "", ...request }, admin, {});
  const all = async (): Promise<number> => {
    let [found, pageToken, pages] = [0, "", 0];
    do {
      const page = await list({ pageToken });
      found += page.clusters?.length ?? 0;
      pageToken = page.nextPageToken ?? "";
      pages += 1;
    } while (pageToken !== "");
    assert.equal(pages, Math.ceil(found / 1000));
    return found;
  };
  const suspend = (name: string) =>
    setClusterState({ name, state: "suspended", reason: "a test", ifEtag: "", dryRun: false }, admin, {});
  return { all, list, suspend };
}

/** Counts the files that are read, by whatever way. */
function countReads(t: TestContext, directory: string): () => readonly string[] {
  const read: string[] = [];
  const note = (path: unknown): void => {
    if (typeof path === "string" && path.startsWith(directory) && path.endsWith(".yaml")) read.push(path);
  };
  const [whole, wholeSync] = [promises.readFile, fs.readFileSync];
  promises.readFile = ((path: string, ...rest: readonly []) => {
    note(path);
    return whole(path, ...rest);
  }) as typeof whole;
  fs.readFileSync = ((path: string, ...rest: readonly []) => {
    note(path);
    return wholeSync(path, ...rest);
  }) as typeof wholeSync;
  syncBuiltinESMExports();
  t.after(() => {
    [promises.readFile, fs.readFileSync] = [whole, wholeSync];
    syncBuiltinESMExports();
  });
  return () => read.splice(0);
}

suite(`a list of ${count} clusters`, () => {
  test("reads each file of a directory once, and nothing again; an edit reads that one file", async (t) => {
    const dir = mkdtempSync(join(tmpdir(), "fleet-"));
    t.after(() => rmSync(dir, { recursive: true }));
    const directory = join(dir, "clusters");
    mkdirSync(directory);
    // Files that were written long ago: of one that is younger than the clock's step nobody knows its next edit.
    const long = new Date(Date.now() - 60_000);
    for (let i = 0; i < count; i += 1) {
      const file = join(directory, `c-${String(i).padStart(5, "0")}.yaml`);
      writeFileSync(file, printRecord(recordOf(i)).replaceAll(/^(?:- | {2})/gm, ""));
      utimesSync(file, long, long);
    }
    const reads = countReads(t, directory);
    const { all, list } = openMethods(t, { kind: "directory", directory });
    assert.equal(await all(), count);
    const first = reads();
    assert.equal(first.length, count);
    assert.equal(new Set(first).size, count);
    assert.equal(await all(), count);
    assert.equal((await list({ selector: "team=t-7" })).clusters?.length, count / 100);
    assert.deepEqual(reads(), []);
    const other = join(directory, "c-00007.yaml");
    writeFileSync(other, printRecord({ ...recordOf(7), state: "active" }).replaceAll(/^(?:- | {2})/gm, "# edited\n"));
    for (const end = performance.now() + 5000; reads().length === 0; await new Promise(setImmediate))
      assert.ok(performance.now() < end, "the edit is seen");
    assert.equal(await all(), count);
    assert.deepEqual(
      [...new Set(reads())].filter((file) => file !== other),
      [],
    );
  });

  test("reads each document once, and nothing again; an edit reads the documents of that cluster", async (t) => {
    const fake = createFakeDocuments();
    const mount = mountPath.parse("kv");
    const records = Array.from({ length: count }, (_, i) => recordOf(i));
    const store = (path: string, data: unknown) => fake.set({ mount, path }, data);
    for (const record of records) {
      store(`registry/clusters/${record.name}`, record);
      store(`registry/uids/${record.uid}`, { cluster: record.name });
    }
    store("registry/index", { sequence: 1, changed: [] });
    let read: string[] = [];
    const documents: Documents = {
      ...fake,
      readDocument(at: DocumentRef, signal) {
        // The index is looked at twice a second, whoever lists.
        if (at.path !== "registry/index") read.push(at.path);
        return fake.readDocument(at, signal);
      },
    };
    const path = mountPath.parse("registry");
    const { all, suspend } = openMethods(
      t,
      { kind: "vault", backend: backendName.parse("main"), mount, path },
      documents,
    );
    assert.equal(await all(), count);
    const clusters = read.filter((one) => one.startsWith("registry/clusters/"));
    assert.deepEqual([clusters.length, new Set(clusters).size], [count, count]);
    read = [];
    assert.equal(await all(), count);
    assert.deepEqual(read, []);
    const { name = "", uid = "" } = records[7] ?? {};
    await suspend(name);
    assert.equal(await all(), count);
    assert.deepEqual(
      [...new Set(read)].filter(
        (one) => !["registry", `registry/clusters/${name}`, `registry/uids/${uid}`].includes(one),
      ),
      [],
    );
  });
});
