// The one document of 0.1.0, as a gateway reads it.
import assert from "node:assert/strict";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { test, type TestContext } from "node:test";
import type { RegistryStore } from "@claviger/gateway-core/src/registry/port.ts";
import {
  documentOf,
  openVaultRegistry,
  type Peers,
  vaultRegistrySchema,
} from "@claviger/gateway-core/src/registry/vault.ts";
import { clusterName } from "@claviger/proto/wire/names.ts";
import { silent } from "../../fakes.ts";
import { createFakeDocuments, type FakeDocuments } from "./fakes.ts";

const prod = clusterName.parse("prod");
const config = vaultRegistrySchema.parse({ kind: "vault", backend: "main", mount: "claviger" });
function registryOf(state: string): unknown {
  return {
    clusters: [
      {
        name: prod,
        uid: "01JD9Z6X3QK8V5T7W2M4N6P8RA",
        state,
        keys: [{ backend: "main", mount: "transit", key: "prod" }],
      },
    ],
  };
}

/** A Vault with one document: a test may change it, and hold up those who read it. */
function createVault(): FakeDocuments {
  const vault = createFakeDocuments();
  vault.set(documentOf(config), registryOf("active"));
  return vault;
}

async function openOn(t: TestContext, vault: FakeDocuments, peers?: Peers): Promise<RegistryStore> {
  const registry = openVaultRegistry({
    documents: vault,
    config,
    backends: new Set(["main"]),
    log: silent,
    ...(peers !== undefined && { peers }),
  });
  t.after(() => registry.close());
  await registry.load(prod);
  return registry;
}

async function until(condition: () => boolean, milliseconds: number): Promise<void> {
  for (const end = performance.now() + milliseconds; !condition(); await sleep(10))
    assert.ok(performance.now() < end, "it took too long");
}

test("a registry that opens while its Vault is away serves nobody, says so, and serves when it is back", async (t) => {
  const vault = createVault();
  vault.isAway = true;
  const registry = await openOn(t, vault);
  assert.throws(() => registry.get(prod), { reason: "backend_unavailable" });
  assert.match(registry.problem() ?? "", /cannot be read/);
  vault.isAway = false;
  await until(() => registry.problem() === undefined, 1000);
  assert.equal(registry.get(prod)?.state, "active");
});

test("what was read last stays in force while Vault is away, after a bad edit, and after the document was deleted", async (t) => {
  const vault = createVault();
  const registry = await openOn(t, vault);
  for (const spoil of [
    () => {
      vault.isAway = true;
    },
    () => {
      vault.set(documentOf(config), { clusters: "nonsense" });
    },
    () => {
      vault.set(documentOf(config), undefined);
    },
  ]) {
    spoil();
    await registry.refresh();
    assert.equal(registry.get(prod)?.state, "active");
    assert.notEqual(registry.problem(), undefined);
    vault.isAway = false;
    vault.set(documentOf(config), registryOf("active"));
    await registry.refresh();
    assert.equal(registry.problem(), undefined);
  }
});

test("a hint that comes during a read leads to another one: the read may have begun before the edit", async (t) => {
  const vault = createVault();
  const registry = await openOn(t, vault);
  const gate = new EventTarget();
  const { reads } = vault;
  vault.before = () => once(gate, "go");
  const old = registry.refresh();
  await until(() => vault.reads > reads, 1000);
  vault.set(documentOf(config), registryOf("suspended"));
  vault.before = () => Promise.resolve();
  const hinted = registry.refresh();
  gate.dispatchEvent(new Event("go"));
  await old;
  assert.equal(registry.get(prod)?.state, "active");
  await hinted;
  assert.equal(registry.get(prod)?.state, "suspended");
});

test("hints without end are no storm of reads", async (t) => {
  const vault = createVault();
  const registry = await openOn(t, vault);
  for (const end = performance.now() + 500; performance.now() < end; await sleep(1)) void registry.refresh();
  assert.ok(vault.reads <= 8, String(vault.reads));
});

test("replicas with a Redis read once a second each, and the first to see an edit that nobody announced tells the others", async (t) => {
  const vault = createVault();
  const listeners: (() => void)[] = [];
  let freeAt = 0;
  const peers: Peers = {
    tryAcquire: (_, milliseconds) => {
      const isFree = performance.now() >= freeAt;
      if (isFree) freeAt = performance.now() + milliseconds;
      return Promise.resolve(isFree);
    },
    tell: () => {
      for (const listener of listeners) listener();
    },
  };
  const registries = await Promise.all([1, 2, 3, 4].map(() => openOn(t, vault, peers)));
  for (const registry of registries) listeners.push(() => void registry.refresh());
  const before = vault.reads;
  await sleep(2000);
  // Each for itself would read 16 times.
  assert.ok(vault.reads - before <= 12, String(vault.reads - before));
  vault.set(documentOf(config), registryOf("suspended"));
  await until(() => registries.every((registry) => registry.get(prod)?.state === "suspended"), 1000);
});

test("a Redis that says it is another's turn, always, delays an edit by a second and hides none", {
  timeout: 10_000,
}, async (t) => {
  const vault = createVault();
  const registry = await openOn(t, vault, { tryAcquire: () => Promise.resolve(false), tell: () => {} });
  vault.set(documentOf(config), registryOf("suspended"));
  await until(() => registry.get(prod)?.state === "suspended", 6000);
});
