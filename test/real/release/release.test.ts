// `npm run release` as it is run for a release, once here and once in a clone elsewhere, and what
// comes out of it.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { buildRelease, cloneTo, root } from "./build.ts";

function hashesOf(directory: string): Readonly<Record<string, string>> {
  const names = readdirSync(directory).toSorted();
  return Object.fromEntries(
    names.map((name) => [
      name,
      createHash("sha256")
        .update(readFileSync(join(directory, name)))
        .digest("hex"),
    ]),
  );
}

suite("A release", () => {
  const dir = mkdtempSync(join(tmpdir(), "claviger-release-"));
  const out = join(dir, "out");
  before(async () => {
    const clone = join(dir, "elsewhere", "clone");
    cloneTo(clone);
    await Promise.all([buildRelease(root, out), buildRelease(clone, join(dir, "second"))]);
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  test("of the same commit is the same, byte for byte, wherever it is made", () => {
    const here = hashesOf(out);
    assert.ok(Object.keys(here).length > 10);
    assert.deepEqual(hashesOf(join(dir, "second")), here);
  });

  test("has a sum of each file, which sha256sum checks", () => {
    const checked = execFileSync("sha256sum", ["--strict", "--check", "SHA256SUMS"], { cwd: out, encoding: "utf8" });
    const names = checked
      .trim()
      .split("\n")
      .map((line) => line.replace(/: OK$/, ""));
    assert.deepEqual([...names, "SHA256SUMS"].toSorted(), readdirSync(out).toSorted());
  });
});
