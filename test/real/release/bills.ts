// The bills of materials of a release: held against what esbuild says is in each bundle, and against
// the packages as they are installed.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { suite, test } from "node:test";
import { build } from "esbuild";
import { entryPoints } from "../../../infra/build.ts";
import { billOf, npmComponent } from "../../../infra/release/sbom.ts";
import { root } from "./build.ts";

type Component = {
  readonly group?: string;
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly hashes: readonly { readonly alg: string; readonly content: string }[];
  readonly licenses: readonly object[];
  readonly components?: readonly Component[];
};
type Bill = {
  readonly specVersion: string;
  readonly metadata: { readonly component: Component };
  readonly components: readonly Component[];
};

/** `name@version` of the package that a file belongs to, from the package.json that is nearest to it. */
function packageOf(file: string): string {
  for (let folder = dirname(file); ; folder = dirname(folder)) {
    if (/node_modules\/(?:@[^/]+\/)?[^/]+$/.test(folder)) {
      const text = readFileSync(join(folder, "package.json"), "utf8");
      const { name, version } = JSON.parse(text) as { readonly name: string; readonly version: string };
      return `${name}@${version}`;
    }
  }
}

/** The packages that a program is made of, as esbuild finds them. */
async function packagesOf(entry: string, browser: boolean): Promise<readonly string[]> {
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outdir: "nowhere",
    write: false,
    bundle: true,
    platform: browser ? "browser" : "node",
    format: "esm",
    jsx: "automatic",
    jsxImportSource: "preact",
    loader: { ".svg": "file", ".woff2": "file" },
    metafile: true,
  });
  const files = Object.keys(metafile.inputs).filter((file) => file.includes("node_modules/"));
  return [...new Set(files.map((file) => packageOf(join(root, file))))];
}

/** @param release where the release is, once it is made */
export function billSuite(release: () => string, version: string): void {
  suite("its bills of materials", () => {
    const billFor = (file: string): Bill =>
      JSON.parse(readFileSync(join(release(), `${file}.cdx.json`), "utf8")) as Bill;
    const named = ({ group, name, version: of }: Component): string =>
      `${group === undefined ? "" : `${group}/`}${name}@${of}`;

    test("stand beside each artifact with a program, and have its hash", () => {
      const files = readdirSync(release()).filter((name) => !/^SHA256SUMS|\.cdx\.json$|^helm-|-infra-/.test(name));
      assert.ok(files.length > 15);
      for (const file of files) {
        const { specVersion, metadata } = billFor(file);
        const hash = createHash("sha256")
          .update(readFileSync(join(release(), file)))
          .digest("hex");
        assert.equal(specVersion, "1.6");
        assert.deepEqual(metadata.component.hashes, [{ alg: "SHA-256", content: hash }]);
      }
    });

    test("name exactly the packages that esbuild finds in each program, with version, hash, licence and purl", async () => {
      const console = await packagesOf("gateway/console/src/main.tsx", true);
      assert.ok(console.some((name) => name.startsWith("preact@")));
      for (const [program, entry] of Object.entries(entryPoints)) {
        const found = [...(await packagesOf(entry, false)), ...(program === "claviger-fleet" ? console : [])];
        assert.ok(found.length > 5, program);
        for (const file of [`${program}_${version}_all.deb`, `${program}-${version}-1.noarch.rpm`]) {
          const { components } = billFor(file);
          assert.deepEqual(components.map(named).toSorted(), [...new Set(found)].toSorted(), file);
          for (const component of components) {
            assert.match(component.purl, /^pkg:npm\/(?:%40[^/]+\/)?[^@]+@\d/);
            assert.match(component.hashes[0]?.content ?? "", /^[0-9a-f]{128}$/);
            assert.ok(component.licenses.length > 0);
          }
        }
      }
    });

    test("name in an image what is in the package, Node.js with what is inside it, and Debian's libraries", () => {
      const [deb, image] = [billFor(`claviger-shim_${version}_all.deb`), billFor(`claviger-shim-${version}.oci.tar`)];
      const more = image.components.filter(({ purl }) => !deb.components.some((one) => one.purl === purl));
      assert.equal(more.length, image.components.length - deb.components.length);
      const nodes = more.filter(({ name }) => name === "node");
      assert.deepEqual(
        nodes.map((node) => node.components?.find(({ name }) => name === "openssl")?.version),
        [process.versions.openssl, process.versions.openssl],
      );
      assert.deepEqual(
        more.filter(({ name }) => name !== "node").map(({ name }) => name),
        ["libc6", "libgcc-s1", "libstdc++6", "libc6", "libgcc-s1", "libstdc++6"],
      );
    });

    test("are refused where the schema does not allow them", async () => {
      const good = { name: "a", version: "1.0.0", licences: ["MIT"], integrity: "sha512-AAAA" };
      const bill = (licence: string): Promise<string> =>
        billOf(
          { file: "a.tgz", content: Buffer.from("a"), version, kind: "application" },
          [
            {
              ...npmComponent(good),
              hashes: [{ alg: "SHA-512", content: "0".repeat(128) }],
              licenses: [{ license: { id: licence } }],
            },
          ],
          { version, revision: "0", epoch: 0 },
        );
      assert.match(await bill("MIT"), /"specVersion": "1\.6"/);
      await assert.rejects(bill("No-Such-Licence"), /is not CycloneDX 1\.6/);
    });
  });
}
