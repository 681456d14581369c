// A document for each cluster, as a gateway reads them.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { test, type TestContext } from "node:test";
import {
  clusterAt,
  editedSince,
  indexAt,
  movedDocument,
  raisedIndex,
  removedCluster,
  uidAt,
} from "@claviger/gateway-core/src/registry/documents.ts";
import type { RegistryStore } from "@claviger/gateway-core/src/registry/port.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { documentOf, openVaultRegistry, vaultRegistrySchema } from "@claviger/gateway-core/src/registry/vault.ts";
import { type ClusterName, clusterName, clusterUid } from "@claviger/proto/wire/names.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { cluster, silent } from "../../fakes.ts";
import { createFakeDocuments, type FakeDocuments } from "./fakes.ts";

const config = vaultRegistrySchema.parse({ kind: "vault", backend: "main", mount: "claviger" });
const root = documentOf(config);
const prod = clusterName.parse("prod");

function named(name: string, change: Partial<ClusterRecord> = {}): ClusterRecord {
  const uid = clusterUid.parse(
    `01JD9Z6X3QK8V5T7W2M4${name
      .toUpperCase()
      .replaceAll(/[^0-9A-HJKMNP-TV-Z]/g, "0")
      .padStart(6, "0")}`,
  );
  return cluster({ name: clusterName.parse(name), uid, ...change });
}

type Store = {
  readonly vault: FakeDocuments;
  /** Puts a record there, as a writer that knows no index. */
  readonly put: (record: ClusterRecord, owner?: string) => void;
  /** Raises the index, as our writers do. */
  readonly tell: (...names: readonly ClusterName[]) => Promise<void>;
};

async function createStore(...records: readonly ClusterRecord[]): Promise<Store> {
  const vault = createFakeDocuments();
  const store: Store = {
    vault,
    put(record, owner = record.name) {
      vault.set(clusterAt(root, record.name), record);
      vault.set(uidAt(root, record.uid), { cluster: owner, generation: 0 });
    },
    async tell(...names) {
      const found = await vault.readDocument(indexAt(root), AbortSignal.timeout(1000));
      vault.set(indexAt(root), raisedIndex(found?.data as Parameters<typeof raisedIndex>[0], names));
    },
  };
  for (const record of records) store.put(record);
  await store.tell(...records.map(({ name }) => name));
  return store;
}

function open(t: TestContext, { vault }: Store): RegistryStore {
  const registry = openVaultRegistry({ documents: vault, config, backends: new Set(["main"]), log: silent });
  t.after(() => registry.close());
  return registry;
}

/** The record as a request would have it. */
async function ask(registry: RegistryStore, name: string): Promise<ClusterRecord | undefined> {
  const known = clusterName.parse(name);
  await registry.load(known);
  return registry.get(known);
}

async function until(condition: () => boolean, milliseconds = 1000): Promise<void> {
  for (const end = performance.now() + milliseconds; !condition(); await sleep(10))
    assert.ok(performance.now() < end, "it took too long");
}

test("a cluster's record is read when it first asks, once for all that ask, and no other's", async (t) => {
  const store = await createStore(named("prod"), named("other"));
  const registry = open(t, store);
  assert.throws(() => registry.get(prod), { reason: "backend_unavailable" });
  const before = store.vault.reads;
  const asked = await Promise.all([1, 2, 3].map(() => ask(registry, "prod")));
  assert.deepEqual(
    asked.map((record) => record?.state),
    ["active", "active", "active"],
  );
  // The index, the record, the uid.
  assert.equal(store.vault.reads - before, 3);
  assert.equal(registry.load(prod), undefined);
  assert.deepEqual(
    registry.using(named("prod").keys[0] ?? assert.fail("a key")).map(({ name }) => name),
    ["prod"],
  );
});

test("names that nobody has cost no read, however many they are", async (t) => {
  const store = await createStore(named("prod"));
  const registry = open(t, store);
  assert.equal(await ask(registry, "nobody"), undefined);
  const before = store.vault.reads;
  for (let i = 0; i < 1000; i += 1) assert.equal(await ask(registry, `nobody-${i}`), undefined);
  assert.ok(store.vault.reads - before <= 2, String(store.vault.reads - before));
});

test("an edit that the index names is in force within a second; so is a cluster that is added", async (t) => {
  const store = await createStore(named("prod"));
  const registry = open(t, store);
  await ask(registry, "prod");
  assert.equal(await ask(registry, "new"), undefined);
  store.put(named("prod", { state: "suspended", generation: 1 }));
  store.put(named("new"));
  await store.tell(prod, clusterName.parse("new"));
  await until(() => registry.get(prod)?.state === "suspended");
  await until(() => registry.version() === "index:3");
  assert.equal((await ask(registry, "new"))?.name, "new");
});

test("an edit that nobody tells of is in force at the latest when a caller has seen it", async (t) => {
  const store = await createStore(named("prod"));
  const registry = open(t, store);
  await ask(registry, "prod");
  store.put(named("prod", { state: "suspended", generation: 1 }));
  await sleep(300);
  await registry.refresh(prod);
  assert.equal(registry.get(prod)?.state, "suspended");
});

test("more edits than the index names: everything that is known is read again", async (t) => {
  const store = await createStore(named("prod"), named("other"));
  const registry = open(t, store);
  await ask(registry, "prod");
  await ask(registry, "other");
  store.put(named("prod", { state: "suspended", generation: 1 }));
  await store.tell(prod);
  for (let i = 0; i < 120; i += 1) await store.tell(clusterName.parse("other"));
  await until(() => registry.get(prod)?.state === "suspended");
  assert.equal(registry.get(clusterName.parse("other"))?.state, "active");
});

test("a bad record keeps its own last good state, is named, and holds up no other", async (t) => {
  const store = await createStore(named("prod"), named("other"));
  const registry = open(t, store);
  await ask(registry, "prod");
  await ask(registry, "other");
  store.vault.set(clusterAt(root, prod), { ...named("prod"), state: "on" });
  store.put(named("other", { state: "suspended", generation: 1 }));
  await store.tell(prod, clusterName.parse("other"));
  await until(() => registry.get(clusterName.parse("other"))?.state === "suspended");
  assert.equal(registry.get(prod)?.state, "active");
  assert.match(registry.problem() ?? "", /registry main: claviger\/registry\/clusters\/prod: state: /);
  store.put(named("prod", { state: "suspended", generation: 1 }));
  await store.tell(prod);
  await until(() => registry.get(prod)?.state === "suspended");
  assert.equal(registry.problem(), undefined);
});

test("the rules hold against what is stored, for a gateway that has just started", async (t) => {
  const store = await createStore(named("prod"));
  store.put(named("thief", { uid: named("prod").uid }), "prod");
  store.vault.set(uidAt(root, named("older").uid), { cluster: "older", generation: 5 });
  store.vault.set(clusterAt(root, clusterName.parse("older")), named("older", { generation: 4 }));
  store.vault.set(clusterAt(root, clusterName.parse("bare")), named("bare"));
  store.vault.set(clusterAt(root, clusterName.parse("alias")), named("prod"));
  await store.tell(prod);
  const registry = open(t, store);
  for (const [name, problem] of [
    ["thief", /thief: the uid .* is that of prod, for life/],
    ["older", /older: generation went back from 5 to 4/],
    ["bare", /bare: the uid .* has no document/],
    ["alias", /alias: name: is prod/],
  ] as const) {
    await assert.rejects(ask(registry, name), { reason: "backend_unavailable" });
    assert.match(registry.problem() ?? "", problem);
  }
  assert.equal((await ask(registry, "prod"))?.name, "prod");
});

test("a cluster that was removed, or whose document was deleted, is not in the registry any more", async (t) => {
  const store = await createStore(named("prod"), named("other"));
  const registry = open(t, store);
  await ask(registry, "prod");
  await ask(registry, "other");
  store.vault.set(clusterAt(root, prod), removedCluster(named("prod").uid));
  store.vault.set(clusterAt(root, clusterName.parse("other")), undefined);
  await store.tell(prod, clusterName.parse("other"));
  await until(() => registry.get(prod) === undefined);
  await until(() => registry.get(clusterName.parse("other")) === undefined);
});

test("where everything is gone nothing was removed: what was read last stays in force", async (t) => {
  const store = await createStore(named("prod"));
  const registry = open(t, store);
  await ask(registry, "prod");
  store.vault.set(indexAt(root), undefined);
  store.vault.set(clusterAt(root, prod), undefined);
  await sleep(300);
  await registry.refresh(prod);
  assert.equal(registry.get(prod)?.state, "active");
  assert.match(registry.problem() ?? "", /there is none yet/);
});

test("while Vault is away what was read stays in force, an edit meanwhile comes into force after it", async (t) => {
  const store = await createStore(named("prod"), named("other"));
  const registry = open(t, store);
  await ask(registry, "prod");
  store.vault.isAway = true;
  await registry.refresh(prod);
  assert.equal((await ask(registry, "prod"))?.state, "active");
  await assert.rejects(ask(registry, "other"), { reason: "backend_unavailable" });
  store.put(named("prod", { state: "suspended", generation: 1 }));
  store.vault.isAway = false;
  await store.tell(prod);
  await until(() => registry.get(prod)?.state === "suspended", 2000);
  await until(() => registry.load(clusterName.parse("other")) !== undefined, 2000);
  assert.equal((await ask(registry, "other"))?.state, "active");
});

test("an edited record that cannot be read is not forgotten", async (t) => {
  const store = await createStore(named("prod"));
  const registry = open(t, store);
  await ask(registry, "prod");
  store.vault.fails = ({ path }) => (path.endsWith("clusters/prod") ? new KmsError("backend_unavailable") : undefined);
  store.put(named("prod", { state: "suspended", generation: 1 }));
  await store.tell(prod);
  await until(() => registry.problem() !== undefined);
  assert.equal(registry.get(prod)?.state, "active");
  assert.equal(registry.version(), undefined);
  store.vault.fails = () => undefined;
  await until(() => registry.get(prod)?.state === "suspended");
  await until(() => registry.problem() === undefined && registry.version() === "index:2");
});

test("the one document of 0.1.0 is in force until it is moved; then each cluster's own is", async (t) => {
  const store = await createStore();
  const { vault } = store;
  vault.set(indexAt(root), undefined);
  vault.set(root, { clusters: [named("prod"), named("gone")] });
  const registry = open(t, store);
  assert.equal((await ask(registry, "prod"))?.state, "active");
  store.put(named("prod", { state: "suspended", generation: 1 }));
  vault.set(root, movedDocument);
  // The move was interrupted before the index was made.
  await until(() => registry.version() === "index:0");
  assert.equal((await ask(registry, "prod"))?.state, "suspended");
  assert.equal(await ask(registry, "gone"), undefined);
  await store.tell(prod);
  await until(() => registry.version() === "index:1");
  assert.equal(registry.problem(), undefined);
});

test("a policy of 0.1.0, which shows the one document alone, is enough until it is moved", async (t) => {
  const store = await createStore();
  store.vault.set(root, { clusters: [named("prod")] });
  store.vault.fails = ({ path }) => (path === root.path ? undefined : new KmsError("backend_denied"));
  const registry = open(t, store);
  assert.equal((await ask(registry, "prod"))?.state, "active");
  assert.equal(registry.problem(), undefined);
});

test("whoever reads all is told that there is no registry yet, and by a Vault that is away nothing else", async (t) => {
  const vault = createFakeDocuments();
  const registry = openVaultRegistry({ documents: vault, config, backends: new Set(["main"]), log: silent });
  t.after(() => registry.close());
  await assert.rejects(registry.loadAll(), /there is none yet: 'claviger cluster add' makes it/);
  vault.isAway = true;
  await registry.refresh();
  await assert.rejects(registry.loadAll(), (error) => error instanceof KmsError);
  vault.isAway = false;
  const record = named("prod");
  vault.set(clusterAt(root, prod), record);
  vault.set(uidAt(root, record.uid), { cluster: "prod" });
  vault.set(indexAt(root), { sequence: 1, changed: ["1 prod"] });
  await registry.refresh();
  vault.fails = ({ path }) => (path.includes("clusters/") ? new KmsError("backend_unavailable") : undefined);
  await assert.rejects(registry.loadAll(), (error) => error instanceof KmsError);
  vault.fails = () => undefined;
  await registry.loadAll();
  assert.deepEqual(
    registry.known().map(({ name }) => name),
    ["prod"],
  );
});

test("an index names the last edits, and says when they are not all of them", () => {
  let index = raisedIndex(undefined, [prod]);
  assert.deepEqual(index, { sequence: 1, changed: ["1 prod"] });
  index = raisedIndex(index, [clusterName.parse("a"), clusterName.parse("b")]);
  assert.deepEqual([...(editedSince(index, 1) ?? [])], ["a", "b"]);
  assert.deepEqual([...(editedSince(index, 3) ?? [])], []);
  assert.equal(editedSince(index, 4), undefined, "the store was restored");
  for (let i = 0; i < 200; i += 1) index = raisedIndex(index, [prod]);
  assert.equal(editedSince(index, 3), undefined);
  assert.deepEqual([...(editedSince(index, 150) ?? [])], ["prod"]);
  assert.equal(index.changed.length, 100);
});
