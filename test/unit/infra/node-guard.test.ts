// An old Node.js: the bundles as they are shipped end with one line.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

const root = join(import.meta.dirname, "..", "..", "..");
const dir = mkdtempSync(join(tmpdir(), "claviger-bundles-"));
after(() => rmSync(dir, { recursive: true }));
execFileSync(process.execPath, [join(root, "infra", "build.ts"), "--outdir", dir]);
const programs = ["claviger-shim", "claviger-gateway", "claviger"];

function majorOf(node: string): number {
  return Number.parseInt(spawnSync(node, ["-p", "process.versions.node"], { encoding: "utf8" }).stdout, 10);
}

/** Runs a bundle where Node.js says that it is of this version. */
function runAs(version: string, program: string) {
  const fake = `Object.defineProperty(process, "versions", { value: { ...process.versions, node: ${JSON.stringify(version)} } })`;
  const preload = `data:text/javascript,${encodeURIComponent(fake)}`;
  const args = ["--import", preload, join(dir, `${program}.mjs`), "--version"];
  return spawnSync(process.execPath, args, { encoding: "utf8" });
}

test("a bundle on an older version says which one it needs, and ends with status 2", () => {
  for (const program of programs)
    for (const version of ["23.11.1", "20.20.2", "18.0.0"]) {
      const { status, stdout, stderr } = runAs(version, program);
      assert.deepEqual(
        { status, stdout, stderr },
        { status: 2, stdout: "", stderr: `${program} needs Node.js 24 or later, this is ${version}\n` },
      );
    }
});

test("a bundle on version 24 or a later one runs", () => {
  for (const program of programs)
    for (const version of ["24.0.0", "26.1.0", "100.0.0"]) {
      const { status, stdout, stderr } = runAs(version, program);
      assert.equal(status, 0, stderr);
      assert.match(stdout, /^\d+\.\d+\.\d+\n$/);
    }
});

// Where there is an old one: that it can read the file as far as the guard.
const old = ["/usr/bin/node", "/usr/local/bin/node"].filter((node) => existsSync(node) && majorOf(node) < 24);
for (const node of old)
  test(`${node}, an older one, says so too`, () => {
    for (const program of programs) {
      const { status, stderr } = spawnSync(node, [join(dir, `${program}.mjs`), "--version"], { encoding: "utf8" });
      assert.equal(status, 2, stderr.slice(-500));
      assert.match(stderr, new RegExp(`^${program} needs Node\\.js 24 or later, this is [\\d.]+\\n$`));
    }
  });
