// Registries of any size for benchmarks, in each place where a gateway reads one: filled at once, and
// edited a cluster at a time.
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import type { Documents } from "@claviger/gateway-core/src/backend/port.ts";
import {
  clusterAt,
  indexAt,
  raisedIndex,
  type RegistryIndex,
  uidAt,
} from "@claviger/gateway-core/src/registry/documents.ts";
import { createGate } from "@claviger/gateway-core/src/registry/gate.ts";
import { type ClusterName, type ClusterUid, mountPath } from "@claviger/proto/wire/names.ts";

const root = { mount: mountPath.parse("claviger"), path: "registry" };

/** A cluster; its key in Transit has its name. */
export type RegistryRow = {
  readonly name: ClusterName;
  readonly uid: ClusterUid;
  generation: number;
  state: string;
};

function recordOf({ name, uid, generation, state }: RegistryRow) {
  const keys = [{ backend: "main", mount: "transit", key: name }];
  return { name, uid, generation, state, rotation: "auto", keys };
}

/** Where a registry lies, and how one cluster's record is edited there. */
export type Store = {
  /** The gateways' setting `registry`. */
  readonly registry: Readonly<Record<string, string>>;
  readonly fill: (rows: readonly RegistryRow[]) => Promise<void>;
  readonly edit: (row: RegistryRow) => Promise<void>;
};

function replace(file: string, text: string): void {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

export function fileStore(dir: string): Store {
  const file = join(dir, "clusters.yaml");
  let texts = new Map<string, string>();
  const write = (): void => replace(file, `clusters:\n${[...texts.values()].join("")}`);
  const textOf = (row: RegistryRow): string =>
    stringify([recordOf(row)])
      .replaceAll(/^/gm, "  ")
      .trimEnd() + "\n";
  return {
    registry: { kind: "file", file },
    fill(rows) {
      texts = new Map(rows.map((row) => [row.name, textOf(row)]));
      return Promise.resolve(write());
    },
    edit(row) {
      texts.set(row.name, textOf(row));
      return Promise.resolve(write());
    },
  };
}

export function directoryStore(dir: string, count: number): Store {
  const directory = join(dir, `clusters-${count}`);
  mkdirSync(directory, { recursive: true });
  const edit = (row: RegistryRow): Promise<void> =>
    Promise.resolve(replace(join(directory, `${row.name}.yaml`), stringify(recordOf(row))));
  return {
    registry: { kind: "directory", directory },
    async fill(rows) {
      for (const row of rows) await edit(row);
    },
    edit,
  };
}

export function documentStore(documents: Documents): Store {
  const signal = (): AbortSignal => AbortSignal.timeout(10_000);
  const write = async (at: Parameters<Documents["readDocument"]>[0], data: object): Promise<void> => {
    const found = await documents.readDocument(at, signal());
    await documents.writeDocument(at, { ...data }, found?.version ?? 0, signal());
  };
  const raise = async (names: readonly ClusterName[]): Promise<void> => {
    const index = (await documents.readDocument(indexAt(root), signal()))?.data as RegistryIndex | undefined;
    await write(indexAt(root), raisedIndex(index, names));
  };
  return {
    registry: { kind: "vault", backend: "main", mount: root.mount, path: root.path },
    async fill(rows) {
      const gate = createGate(16);
      await Promise.all(
        rows.map((row) =>
          gate(async () => {
            await write(uidAt(root, row.uid), { cluster: row.name, generation: row.generation });
            await write(clusterAt(root, row.name), recordOf(row));
          }),
        ),
      );
      await raise([]);
    },
    async edit(row) {
      await write(clusterAt(root, row.name), recordOf(row));
      await raise([row.name]);
    },
  };
}
