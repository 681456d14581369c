// The npm packages of a release, installed into an empty directory: they work there with Node.js 24,
// and an older one is told so.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { before, suite, test } from "node:test";
import { startLab } from "../../lab/lab.ts";
import { oldNode, oldNodeVersion } from "../../parts/old-node.ts";

const programs = ["claviger", "kms-conformance"] as const;

/** @param release where the release is, once it is made */
export function npmSuite(release: () => string, version: string, dir: string): void {
  suite("its npm packages", () => {
    const empty = join(dir, "empty");
    const run = (node: string, program: string, ...args: readonly string[]) =>
      spawnSync(node, [join(empty, "node_modules/.bin", program), ...args], { cwd: empty, encoding: "utf8" });

    before(() => {
      mkdirSync(empty);
      const files = programs.map((name) => join(release(), `${name}-${version}.tgz`));
      execFileSync("npm", ["install", "--offline", "--silent", "--prefix", empty, ...files], { cwd: empty });
    });

    test("bring nothing but themselves", () => {
      assert.deepEqual(
        readdirSync(join(empty, "node_modules")).filter((name) => !name.startsWith(".")),
        programs,
      );
    });

    test("work with Node.js 24: the CLI makes an authority, the kit passes on a real shim", async (t) => {
      const pki = join(dir, "npm-pki");
      const made = run(process.execPath, "claviger", "pki", "init", "--dir", pki, "--trust-domain", "fleet.example");
      assert.equal(made.status, 0, made.stderr);
      assert.ok(readdirSync(pki).includes("ca.crt"));
      const lab = await startLab({ dir: join(dir, "npm-lab"), backend: "embedded", redis: false });
      t.after(() => lab.stop());
      const socket = lab.shims[0]?.socket ?? "";
      const checked = spawnSync(
        process.execPath,
        [join(empty, "node_modules/.bin/kms-conformance"), "--socket", socket, "--only", "9-12,15-17"],
        { cwd: empty, encoding: "utf8" },
      );
      assert.equal(checked.status, 0, checked.stdout + checked.stderr);
      assert.match(checked.stdout, /^pass +9 /m);
      assert.match(checked.stdout, /\d+ passed, 0 failed, \d+ not run\n$/);
    });

    test("say in one line to an older Node.js which one they need, and end with status 2", () => {
      for (const program of programs) {
        const { status, stdout, stderr } = run(oldNode(), program, "--version");
        assert.deepEqual(
          { status, stdout, stderr },
          { status: 2, stdout: "", stderr: `${program} needs Node.js 24 or later, this is ${oldNodeVersion}\n` },
        );
      }
    });
  });
}
