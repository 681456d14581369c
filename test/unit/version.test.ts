// One version: what is installed, what manifests ask for, what commands in documents name.
import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import packageJson from "../../package.json" with { type: "json" };

const root = join(import.meta.dirname, "..", "..");
const files = globSync(["**/package.json", "infra/**/*.{yaml,md}", "docs/{releases,setup}.md", "docs/install/*.md"], {
  cwd: root,
  exclude: ["**/node_modules/**", "docs/.vitepress/**"],
});
const number = String.raw`(\d+\.\d+\.\d+)`;
/** Places that name it. */
const places = [
  `"version": "${number}"`,
  `"@claviger/[a-z-]+": "\\^${number}"`,
  `^(?:version|appVersion): ${number}`,
  `app\\.kubernetes\\.io/version: "${number}"`,
  `claviger/[a-z]+:${number}`,
  `newTag: "${number}"`,
  `claviger-(?:gateway|shim|fleet|cli)[-_:]${number}`,
].map((place) => new RegExp(place, "gm"));

test(`every place that names the version of this release says ${packageJson.version}`, () => {
  const named = files.flatMap((file) => {
    const text = readFileSync(join(root, file), "utf8");
    return places.flatMap((place) => [...text.matchAll(place)].map(([what, version]) => ({ file, what, version })));
  });
  assert.ok(named.length > 50, `${named.length} places`);
  assert.deepEqual(
    named.filter(({ version }) => version !== packageJson.version),
    [],
  );
});
