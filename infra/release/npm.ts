// Packages of npm that work outside of the checkout: one script without dependencies, and a starter
// that an older Node.js can read.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { nodeGuard, oldestNode } from "../node-guard.ts";
import type { Bundle } from "./bundles.ts";
import { root, type Source } from "./source.ts";
import { file, tarOf } from "./tar.ts";

export type NpmPackage = {
  readonly name: string;
  readonly description: string;
  readonly readme: string;
  readonly bundle: Bundle;
};

/**
 * The archive of a package, as `npm install FILE` takes it.
 * @param scope of the site's own, `@example`: without one it cannot be published, since its name may be anybody's
 */
export async function npmArchive(
  { name, description, readme, bundle }: NpmPackage,
  scope: string | undefined,
  { version, epoch }: Source,
): Promise<Buffer> {
  const starter = `bin/${name}.cjs`;
  const manifest = {
    name: scope === undefined ? name : `${scope}/${name}`,
    version,
    ...(scope === undefined && { private: true }),
    description,
    license: "Apache-2.0",
    type: "module",
    bin: { [name]: starter },
    engines: { node: `>=${oldestNode}` },
  };
  const tar = await tarOf(
    [
      file("package.json", `${JSON.stringify(manifest, undefined, 2)}\n`),
      file(
        starter,
        `#!/usr/bin/env node\n"use strict";\n${nodeGuard(name)}\nimport("../${bundle.name}.mjs");\n`,
        0o755,
      ),
      file("README.md", readme),
      file("LICENSE", readFileSync(join(root, "LICENSE"))),
      file("licences.txt", bundle.licences),
      ...bundle.entries,
    ].map((entry) => ({ ...entry, path: `package/${entry.path}` })),
    epoch,
  );
  return gzipSync(tar);
}
