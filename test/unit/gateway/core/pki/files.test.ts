import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { FileExistsError, writeFileAtomically } from "@claviger/proto/runtime/atomic-file.ts";
import { createCa, issueNode } from "@claviger/gateway-core/src/pki/authority.ts";
import { loadCa, writeCa, writePem } from "@claviger/gateway-core/src/pki/files.ts";

describe("certificates on disk", () => {
  let root: string;
  before(async () => {
    root = await mkdtemp(join(tmpdir(), "claviger-pki-"));
  });
  after(() => rm(root, { recursive: true, force: true }));

  const modeOf = async (file: string): Promise<number> => (await stat(file)).mode & 0o777;

  test("an authority is written, read back, and never written over", async () => {
    const dir = join(root, "authority");
    const first = await createCa({ trustDomain: "fleet.example" });
    const files = await writeCa(dir, first);
    assert.equal(await modeOf(dir), 0o700);
    assert.equal(await modeOf(files.key), 0o600);
    await assert.rejects(writeCa(dir, await createCa({ trustDomain: "fleet.example" })), FileExistsError);
    assert.equal((await loadCa(dir)).cert, first.cert);
    // Also when only one half of it is left.
    await rm(files.cert);
    await assert.rejects(writeCa(dir, await createCa({ trustDomain: "fleet.example" })), FileExistsError);
    assert.ok(
      first.key.use((pem) => pem).length > 0 && (await readFile(files.key, "utf8")) === first.key.use((pem) => pem),
    );
  });

  test("a leaf replaces the one before it; its key is 0600 and no half-written file stays", async () => {
    const dir = join(root, "leaf");
    const ca = await createCa({ trustDomain: "fleet.example" });
    const write = async (): Promise<string> =>
      (await writePem({ dir, name: "node", pair: await issueNode({ ca, cluster: "a", node: "n" }) })).key;
    const key = await readFile(await write(), "utf8");
    const file = await write();
    assert.notEqual(await readFile(file, "utf8"), key);
    assert.equal(await modeOf(file), 0o600);
    assert.deepEqual((await readdir(dir)).toSorted(), ["node.crt", "node.key"]);
  });

  test("an atomic write sets the mode whatever stood there before, and two writers of a new file have one winner", async () => {
    const file = join(root, "text");
    await writeFile(file, "old", { mode: 0o666 });
    await writeFileAtomically(file, "new", 0o600);
    assert.deepEqual([await readFile(file, "utf8"), await modeOf(file)], ["new", 0o600]);
    const fresh = join(root, "fresh");
    const results = await Promise.allSettled(
      ["a", "b", "c"].map((text) => writeFileAtomically(fresh, text, 0o600, false)),
    );
    assert.equal(results.filter(({ status }) => status === "fulfilled").length, 1);
    assert.deepEqual(
      (await readdir(root)).filter((name) => name.endsWith(".tmp")),
      [],
    );
  });
});
