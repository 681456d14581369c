// What --check finds of a gateway's cell in a registry of many clusters, in KV of a real OpenBao.
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { documentsEditor } from "@claviger/gateway-core/src/registry/edit/documents-editor.ts";
import { registryDocuments } from "@claviger/gateway-core/src/registry/edit/documents.ts";
import { openRegistry } from "@claviger/gateway-core/src/registry/open.ts";
import { checkServes, loadSample } from "@claviger/gateway-server/src/check/serves.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { createCheck } from "@claviger/proto/runtime/check.ts";
import { backendName, clusterName, clusterUid, keyName, mountPath } from "@claviger/proto/wire/names.ts";
import { silent } from "../../unit/gateway/fakes.ts";
import { startKv } from "../registry/kv.ts";

const count = 150;

function recordOf(i: number): ClusterRecord {
  return {
    name: clusterName.parse(`c-${i}`),
    uid: clusterUid.parse(`01JD9Z6X3QK8V5T7W2M4N6P${String(i).padStart(3, "0")}`),
    generation: 0,
    state: "active",
    rotation: "auto",
    keys: [{ backend: backendName.parse("main"), mount: mountPath.parse("transit"), key: keyName.parse(`c-${i}`) }],
    previousKeys: [],
    ...(i === 7 && { labels: { cell: "rare" } }),
    limits: { requestsPerSecond: 50 },
  };
}

suite("a gateway's cell in a registry in Vault", () => {
  let world: Awaited<ReturnType<typeof startKv>>;
  const config = {
    kind: "vault",
    backend: backendName.parse("main"),
    mount: mountPath.parse("documents"),
    path: mountPath.parse("registry"),
  } as const;
  before(async () => {
    world = await startKv();
    const { documents } = world;
    const all = { has: () => true };
    const editor = documentsEditor({
      name: "kv",
      backends: all,
      use: (run) => run(registryDocuments({ documents, root: config, source: "kv", backends: all })),
      announce: () => Promise.resolve(),
    });
    await editor.addAll(() => Array.from({ length: count }, (_, i) => recordOf(i)));
  });
  after(() => world.stop());

  const look = async (cell: string) => {
    const { documents } = world;
    const store = await openRegistry({
      config,
      documentsOf: () => documents,
      backends: new Set(["main"]),
      log: silent,
    });
    await store.refresh();
    const serves = { matchLabels: { cell } };
    await loadSample(store, { documents, config, serves, signal: AbortSignal.timeout(5000) });
    store.close();
    const check = createCheck();
    const served = checkServes(check, serves, store.known());
    return { served: served.map(({ name }) => name), rows: check.rows() };
  };

  test("one cluster of many that it serves is found, wherever it stands", async () => {
    const { served, rows } = await look("rare");
    assert.deepEqual(served, ["c-7"]);
    assert.deepEqual(
      rows.map(({ name, verdict }) => [name, verdict]),
      [["serves", "ok"]],
    );
    assert.match(rows[0]?.found ?? "", /^1 of the \d+ clusters read: cell=rare$/);
  });

  test("none is a warning, after all of them were read", async () => {
    const { served, rows } = await look("none");
    assert.deepEqual(served, []);
    assert.equal(rows[0]?.verdict, "warning");
    assert.match(rows[0]?.found ?? "", new RegExp(`^none of the ${count} clusters read has such labels: cell=none$`));
  });
});
