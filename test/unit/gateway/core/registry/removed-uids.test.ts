// The uids of removed clusters, as a gateway holds them against a registry of files.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { silentLog } from "@claviger/proto/runtime/log.ts";
import { clusterName } from "@claviger/proto/wire/names.ts";
import { openDirectoryRegistry } from "@claviger/gateway-core/src/registry/directory.ts";
import { openFileRegistry } from "@claviger/gateway-core/src/registry/file.ts";
import type { WholeRegistry } from "@claviger/gateway-core/src/registry/port.ts";

const removed = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
const other = "01ARZ3NDEKTSV4RRFFQ69G5FAW";
const names = ["one", "two"].map((name) => clusterName.parse(name));
const rest = "state: active, rotation: auto, generation: 1";
const record = (name: string, uid: string): string =>
  `{ name: ${name}, uid: ${uid}, ${rest}, keys: [{ backend: main, mount: transit, key: ${name} }] }`;

/** Looks until it is so. */
async function until(registry: WholeRegistry, isSo: () => boolean): Promise<void> {
  for (let i = 0; i < 100 && !isSo(); i += 1) await registry.refresh();
  assert.ok(isSo(), registry.problem());
}

const kinds = {
  file: {
    open: (dir: string) => openFileRegistry({ file: join(dir, "c.yaml"), backends: new Set(["main"]), log: silentLog }),
    write: (dir: string, one: string, two: string) =>
      writeFileSync(join(dir, "c.yaml"), `clusters:\n  - ${record("one", one)}\n  - ${record("two", two)}\n`),
    removed: "c.yaml.removed-uids",
  },
  directory: {
    open: (dir: string) => openDirectoryRegistry({ directory: dir, backends: new Set(["main"]), log: silentLog }),
    write: (dir: string, one: string, two: string) => {
      writeFileSync(join(dir, "one.yaml"), record("one", one));
      writeFileSync(join(dir, "two.yaml"), record("two", two));
    },
    removed: "removed-uids",
  },
} as const;

for (const [kind, { open, write, removed: file }] of Object.entries(kinds))
  test(`in a ${kind}, the uid of a removed cluster is good for that cluster alone`, async (t) => {
    const top = mkdtempSync(join(tmpdir(), "claviger-"));
    t.after(() => rmSync(top, { recursive: true }));
    const start = async (name: string, line: string, ...uids: readonly [one: string, two: string]) => {
      const dir = join(top, name);
      mkdirSync(dir);
      write(dir, ...uids);
      writeFileSync(join(dir, file), `# kept\n${line}\n`);
      const registry = await open(dir);
      t.after(() => registry.close());
      return registry;
    };
    const served = async (...of: Parameters<typeof start>): Promise<readonly string[]> => {
      const registry = await start(...of);
      return names.filter((name) => registry.known().some((known) => known.name === name));
    };
    assert.deepEqual(await served("its own", `${removed} one`, removed, other), ["one", "two"]);
    assert.deepEqual(await served("another's", `${removed} gone`, removed, other), ["two"]);
    const registry = await start("another's, said", `${removed} gone`, removed, other);
    assert.match(registry.problem() ?? "", new RegExp(`one: .*${removed}`));
    // A list that cannot be read holds up what comes with it, until it can.
    const dir = join(top, "edited");
    const edited = await start("edited", `${removed} one`, removed, other);
    writeFileSync(join(dir, file), "something else\n");
    write(dir, removed, "01ARZ3NDEKTSV4RRFFQ69G5FAX");
    await until(edited, () => /has a line that is no uid and name/.test(edited.problem() ?? ""));
    writeFileSync(join(dir, file), "");
    await until(edited, () => edited.problem() !== undefined && /uid/.test(edited.problem() ?? ""));
    write(dir, removed, other);
    await until(edited, () => edited.problem() === undefined);
  });
