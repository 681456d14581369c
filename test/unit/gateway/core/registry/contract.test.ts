// The registry in a file, in a directory and in documents keeps one contract.
import { mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { directoryEditor } from "@claviger/gateway-core/src/registry/edit/directory.ts";
import { textEditor } from "@claviger/gateway-core/src/registry/edit/editor.ts";
import { fileSource } from "@claviger/gateway-core/src/registry/edit/source.ts";
import { openDirectoryRegistry } from "@claviger/gateway-core/src/registry/directory.ts";
import { openFileRegistry } from "@claviger/gateway-core/src/registry/file.ts";
import { parse, stringify } from "yaml";
import { registryContract } from "../../../../contracts/registry.ts";
import { silent } from "../../fakes.ts";
import { documentsWorld } from "./documents-world.ts";
import { createFakeDocuments } from "./fakes.ts";

const backends = new Set(["main"]);

async function replace(file: string, text: string): Promise<void> {
  await writeFile(`${file}.new`, text);
  await rename(`${file}.new`, file);
}

registryContract("a file", async () => {
  const dir = await mkdtemp(join(tmpdir(), "claviger-"));
  const file = join(dir, "clusters.yaml");
  type Records = { readonly clusters: readonly { readonly name: string }[] };
  return {
    editor: textEditor(fileSource({ file, backends })),
    open: () => openFileRegistry({ file, backends, log: silent }),
    async put(name, record) {
      const { clusters } = parse(await readFile(file, "utf8")) as Records;
      const others = clusters.filter((one) => one.name !== name);
      const at = clusters.findIndex((one) => one.name === name);
      await replace(
        file,
        stringify({ clusters: others.toSpliced(at < 0 ? others.length : at, 0, { name, ...record }) }),
      );
    },
    stop: () => rm(dir, { recursive: true, force: true }),
  };
});

registryContract("a directory", async () => {
  const directory = await mkdtemp(join(tmpdir(), "claviger-"));
  return {
    editor: directoryEditor({ directory, backends }),
    open: () => openDirectoryRegistry({ directory, backends, log: silent }),
    put: (name, record) => replace(join(directory, `${name}.yaml`), stringify(record)),
    stop: () => rm(directory, { recursive: true, force: true }),
  };
});

registryContract("documents", () => {
  const documents = createFakeDocuments();
  return Promise.resolve(documentsWorld(documents, () => Promise.resolve()));
});
