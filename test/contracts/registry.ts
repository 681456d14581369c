// The contract of a registry, wherever it lies: what commands write, gateways have in force, and the
// rules between one edit and the next hold whoever has written. (docs/architecture.md #registry.)
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { after, before, suite, test } from "node:test";
import type { RegistryEditor } from "@claviger/gateway-core/src/registry/edit/editor.ts";
import { isInForce, type WholeRegistry } from "@claviger/gateway-core/src/registry/port.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { backendName, clusterName, clusterUid, keyName, mountPath, nodeName } from "@claviger/proto/wire/names.ts";

export type RegistryWorld = {
  readonly editor: RegistryEditor;
  /** As a gateway opens it. Closed by whoever opens it. */
  open(): Promise<WholeRegistry>;
  /** Puts a record there whatever is wrong with it, as an editor's hand does, and tells gateways. */
  put(name: string, record: object): Promise<void>;
  stop(): Promise<void>;
};

const second = 1000;

function recordOf(name: string, uid: string): ClusterRecord {
  return {
    name: clusterName.parse(name),
    uid: clusterUid.parse(`01JD9Z6X3QK8V5T7W2M4N6P8R${uid}`),
    generation: 3,
    state: "active",
    rotation: "manual",
    keys: [{ backend: backendName.parse("main"), mount: mountPath.parse("transit"), key: keyName.parse(name) }],
    previousKeys: [{ backend: backendName.parse("main"), mount: mountPath.parse("old"), key: keyName.parse("k") }],
    labels: { cell: "a", "example.org/tier": "" },
    limits: { requestsPerSecond: 50 },
  };
}

async function ask(registry: WholeRegistry, name: string): Promise<ClusterRecord | undefined> {
  const known = clusterName.parse(name);
  await registry.load(known);
  return registry.get(known);
}

async function until(what: string, condition: () => boolean | Promise<boolean>, milliseconds = second): Promise<void> {
  for (const end = performance.now() + milliseconds; !(await condition()); await sleep(10))
    assert.ok(performance.now() < end, `${what}: not within ${milliseconds} ms`);
}

/**
 * The contract of a registry.
 * @param start makes one for the suite alone; its backend is `main`
 */
export function registryContract(name: string, start: () => Promise<RegistryWorld>): void {
  suite(`${name} keeps the contract of registries`, () => {
    const [first, other] = [recordOf("first", "1"), recordOf("other", "2")];
    let world: RegistryWorld;
    let gateways: readonly WholeRegistry[];
    before(async () => {
      world = await start();
      await world.editor.add([first]);
      await world.editor.addAll(() => [other]);
      gateways = await Promise.all([world.open(), world.open()]);
    });
    after(async () => {
      for (const gateway of gateways) gateway.close();
      await world.stop();
    });

    test("what is added is there for commands and for gateways, every field of it", async () => {
      assert.deepEqual([...(await world.editor.all()).values()], [first, other]);
      assert.deepEqual(await world.editor.one("other"), other);
      for (const gateway of gateways) {
        assert.deepEqual(await ask(gateway, "first"), first);
        assert.deepEqual(await ask(gateway, "other"), other);
        assert.deepEqual(gateway.using(first.keys[0] ?? assert.fail("a key")), [first]);
        assert.equal(gateway.problem(), undefined);
      }
    });

    test("a name that is not there is undefined, and costs nothing the next time", async () => {
      for (const gateway of gateways) {
        assert.equal(await ask(gateway, "nobody"), undefined);
        assert.equal(gateway.load(clusterName.parse("nobody")), undefined);
      }
      await assert.rejects(world.editor.one("nobody"), /"nobody" is not in the registry/);
    });

    test("a new state raises the generation, and is in force at every gateway within a second", async () => {
      const { earlier, version } = await world.editor.change("first", () => ({ state: "suspended" }));
      assert.equal(earlier.state, "active");
      for (const gateway of gateways) {
        await until("the suspension", async () => (await ask(gateway, "first"))?.state === "suspended");
        await until("its word", () => isInForce(version, gateway.version()));
        assert.equal((await ask(gateway, "first"))?.generation, 4);
        assert.deepEqual(await ask(gateway, "other"), other);
      }
      assert.equal((await world.editor.change("first", () => ({ state: "suspended" }))).earlier.state, "suspended");
      assert.equal((await world.editor.one("first")).generation, 4);
      await world.editor.change("first", () => ({ state: "active" }));
      for (const gateway of gateways)
        await until("the resumption", async () => (await ask(gateway, "first"))?.state === "active");
    });

    test("a revocation raises the generation, is in force at every gateway within a second, and ends", async () => {
      const [gone, serial] = [nodeName.parse("cp-3"), "0ab1:CD"];
      const { earlier } = await world.editor.change("other", () => ({
        nodes: { expected: [nodeName.parse("cp-1"), gone], revoked: [gone] },
      }));
      assert.equal(earlier.nodes, undefined);
      for (const gateway of gateways) {
        await until("the revocation", async () => (await ask(gateway, "other"))?.nodes?.revoked?.[0] === gone);
        assert.equal((await ask(gateway, "other"))?.generation, 4);
      }
      await world.editor.change("other", ({ nodes }) => ({
        nodes: { ...nodes, revoked: [], revokedSerials: [serial] },
      }));
      for (const gateway of gateways)
        await until("a serial's", async () => (await ask(gateway, "other"))?.nodes?.revokedSerials?.[0] === "AB1CD");
      await world.editor.change("other", () => ({ nodes: {} }));
      for (const gateway of gateways)
        await until("the end", async () => (await ask(gateway, "other"))?.nodes?.expected === undefined);
      assert.deepEqual(await world.editor.one("other"), { ...other, generation: 6, nodes: {} });
      await world.put("other", { ...other, generation: 6 });
      for (const gateway of gateways)
        await until("the record of before", async () => (await ask(gateway, "other"))?.nodes === undefined);
    });

    test("labels change without a new generation, are in force at every gateway within a second, and end", async () => {
      const { generation } = await world.editor.one("first");
      const { earlier, version } = await world.editor.change("first", ({ labels }) => ({
        labels: { ...labels, cell: "b", on: "true" },
      }));
      assert.deepEqual(earlier.labels, first.labels);
      for (const gateway of gateways) {
        await until("the label", async () => (await ask(gateway, "first"))?.labels?.["cell"] === "b");
        await until("its word", () => isInForce(version, gateway.version()));
        assert.equal((await ask(gateway, "first"))?.generation, generation);
      }
      await world.editor.change("first", () => ({ labels: {} }));
      for (const gateway of gateways)
        await until("the end", async () => (await ask(gateway, "first"))?.labels?.["cell"] === undefined);
      assert.deepEqual(await world.editor.one("first"), { ...first, generation, labels: {} });
      await world.editor.change("first", () => ({ labels: first.labels }));
      assert.deepEqual(await world.editor.one("first"), { ...first, generation });
      for (const gateway of gateways)
        await until("them back", async () => (await ask(gateway, "first"))?.labels?.["cell"] === "a");
      const bad = { "-a": "b" };
      await assert.rejects(
        world.editor.change("first", () => ({ labels: bad })),
        /must be a label's key/,
      );
      await world.put("first", { ...first, generation, labels: { cell: "b c" } });
      for (const gateway of gateways) {
        await until("its problem", () => /labels/.test(gateway.problem() ?? ""));
        assert.deepEqual((await ask(gateway, "first"))?.labels, first.labels, "its own last good state");
      }
      await world.put("first", { ...first, generation });
      for (const gateway of gateways) await until("all is good", () => gateway.problem() === undefined);
    });

    test("limits and rotation change without a new generation, and are in force within a second", async () => {
      const before = await world.editor.one("first");
      const changed = { limits: { requestsPerSecond: 70 }, rotation: "auto" } as const;
      await world.editor.change("first", () => changed);
      assert.deepEqual(await world.editor.one("first"), { ...before, ...changed });
      for (const gateway of gateways)
        await until("the limit", async () => (await ask(gateway, "first"))?.limits.requestsPerSecond === 70);
      await world.editor.change("first", () => ({ limits: before.limits, rotation: before.rotation }));
      assert.deepEqual(await world.editor.one("first"), before);
      for (const gateway of gateways)
        await until("the limit of before", async () => (await ask(gateway, "first"))?.limits.requestsPerSecond === 50);
    });

    test("whoever reads all has every record, and each edit as soon as it asks", async () => {
      const whole = await world.open();
      try {
        const names = (): readonly string[] => whole.known().map((record) => record.name);
        await whole.loadAll();
        assert.deepEqual([...names()].toSorted(), ["first", "other"]);
        const added = recordOf("added", "7");
        await world.editor.add([added]);
        await whole.refresh(added.name);
        assert.ok(names().includes("added"));
        await world.editor.change("added", () => ({ state: "suspended" }));
        await whole.refresh(added.name);
        assert.equal(whole.get(added.name)?.state, "suspended");
        await world.editor.remove("added");
        await whole.refresh(added.name);
        assert.ok(!names().includes("added"));
      } finally {
        whole.close();
      }
    });

    test("of commands, one that breaks a rule writes nothing", async () => {
      const third = recordOf("third", "3");
      await assert.rejects(world.editor.add([first]), /first is in the registry already/);
      await assert.rejects(world.editor.add([{ ...third, uid: first.uid }]), /the uid/);
      await assert.rejects(
        world.editor.add([{ ...third, keys: [{ ...third.keys[0], backend: "nowhere" } as (typeof third.keys)[0]] }]),
        /backend nowhere is not in the gateway's configuration/,
      );
      assert.deepEqual([...(await world.editor.all()).keys()], ["first", "other"]);
    });

    test("a record that breaks a rule keeps its own last good state, is named, and holds up no other", async () => {
      const good = await world.editor.one("first");
      const otherIs = async (state: ClusterRecord["state"], generation: number): Promise<void> => {
        await world.put("other", { ...other, state, generation });
        for (const gateway of gateways)
          await until("the other one", async () => (await ask(gateway, "other"))?.state === state);
      };
      let { generation } = await world.editor.one("other");
      for (const bad of [
        { state: "nonsense" },
        { uid: "01JD9Z6X3QK8V5T7W2M4N6P8RX" },
        { generation: 1 },
        { keys: other.keys },
      ]) {
        await world.put("first", { ...good, ...bad });
        generation += 1;
        await otherIs(generation % 2 === 0 ? "suspended" : "active", generation);
        for (const gateway of gateways) {
          await until("the problem", () => gateway.problem() !== undefined);
          assert.match(gateway.problem() ?? "", /first|clusters\.0/);
          assert.deepEqual(await ask(gateway, "first"), good);
        }
      }
      await world.put("first", good);
      for (const gateway of gateways) await until("all to be good", () => gateway.problem() === undefined);
    });

    test("a uid under another name is served by no gateway, not by one that has just started either", async () => {
      await world.put("thief", { ...recordOf("thief", "1"), generation: 9 });
      const fresh = await world.open();
      try {
        for (const gateway of [...gateways, fresh]) {
          await until("the problem", async () => {
            await ask(gateway, "thief").catch(() => {});
            return gateway.problem() !== undefined;
          });
          await assert.rejects(
            ask(gateway, "thief"),
            (error) => error instanceof KmsError && error.reason === "backend_unavailable",
          );
        }
        for (const gateway of gateways) assert.equal((await ask(gateway, "first"))?.state, "active");
      } finally {
        fresh.close();
      }
      await world.put("thief", recordOf("thief", "4"));
      for (const gateway of gateways)
        await until("a uid of its own", async () => (await ask(gateway, "thief").catch(() => undefined)) !== undefined);
    });

    test("a cluster that is removed is gone, and the others stay", async () => {
      await world.editor.remove("thief");
      for (const gateway of gateways) {
        await until("it to be gone", async () => (await ask(gateway, "thief")) === undefined);
        assert.equal((await ask(gateway, "first"))?.name, "first");
      }
      await assert.rejects(world.editor.remove("thief"), /not in the registry/);
    });

    test("the uid of a cluster that was removed is given to none, and its own record alone comes back", async () => {
      const [thief, robber] = [recordOf("thief", "4"), recordOf("robber", "4")];
      await assert.rejects(world.editor.add([thief]), /the uid \S+ is that of the thief that was removed; a new/);
      for (const restores of [false, true])
        await assert.rejects(
          world.editor.add([robber], { restores }),
          /the uid \S+ is that of thief, which was removed, for life/,
        );
      await world.editor.add([thief], { restores: true, dryRun: true });
      await world.editor.add([recordOf("thief", "6")], { dryRun: true });
      assert.deepEqual([...(await world.editor.all()).keys()], ["first", "other"]);
      await world.editor.add([thief], { restores: true });
      for (const gateway of gateways)
        await until(
          "it to be back",
          async () => (await ask(gateway, "thief").catch(() => undefined))?.uid === thief.uid,
        );
      await world.editor.change("thief", () => ({ state: "suspended" }));
      await world.editor.remove("thief");
      await world.editor.add([recordOf("thief", "6")]);
      await assert.rejects(world.editor.add([robber]), /is that of thief, which was removed, for life/);
      await world.editor.remove("thief");
    });
  });
}
