// `npm run release` as it is run for a release, once here and once in a clone elsewhere, and what
// comes out of it.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import packageJson from "../../../package.json" with { type: "json" };
import { billSuite } from "./bills.ts";
import { buildRelease, cloneTo, root } from "./build.ts";
import { chartSuite } from "./charts.ts";
import { debSuite } from "./debs.ts";
import { imageSuite } from "./images.ts";
import { npmSuite } from "./npm.ts";
import { rpmSuite } from "./rpms.ts";
import { systemdSuite } from "./systemd.ts";

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
  const { version } = packageJson;
  const dir = mkdtempSync(join(tmpdir(), "claviger-release-"));
  const out = join(dir, "out");
  const publicKey = join(dir, "site.pub");
  before(async () => {
    assert.equal(process.getuid?.(), 0, "packages are installed in a chroot: run these tests as root");
    const signKey = join(dir, "site.key");
    execFileSync("minisign", ["-G", "-W", "-p", publicKey, "-s", signKey], { stdio: "ignore" });
    const clone = join(dir, "elsewhere", "clone");
    cloneTo(clone);
    // Another place, another user's habits.
    const elsewhere = { TZ: "Asia/Tokyo", LC_ALL: "C", COLUMNS: "40" };
    await Promise.all([
      buildRelease(root, { out, signKey, umask: "022", env: { TZ: "UTC", COLUMNS: "200" } }),
      buildRelease(clone, { out: join(dir, "second"), signKey, umask: "077", env: elsewhere }),
    ]);
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  test("of the same commit is the same, byte for byte, wherever it is made", () => {
    const here = hashesOf(out);
    assert.ok(Object.keys(here).length > 30);
    assert.deepEqual(hashesOf(join(dir, "second")), here);
    rmSync(join(dir, "second"), { recursive: true });
  });

  test("has a sum of each file, which sha256sum checks", () => {
    const checked = execFileSync("sha256sum", ["--strict", "--check", "SHA256SUMS"], { cwd: out, encoding: "utf8" });
    const names = checked
      .trim()
      .split("\n")
      .map((line) => line.replace(/: OK$/, ""));
    assert.deepEqual([...names, "SHA256SUMS", "SHA256SUMS.minisig"].toSorted(), readdirSync(out).toSorted());
  });

  test("is signed: minisign verifies the sums, refuses a changed byte of them, and sha256sum one of a file", () => {
    const verify = (directory: string) =>
      spawnSync("minisign", ["-V", "-p", publicKey, "-m", join(directory, "SHA256SUMS")], { encoding: "utf8" });
    assert.match(verify(out).stdout, new RegExp(`Trusted comment: claviger ${version} [0-9a-f]{40}`));
    const changed = join(dir, "changed");
    const name = `kms-conformance-${version}.tgz`;
    mkdirSync(changed);
    for (const file of ["SHA256SUMS", "SHA256SUMS.minisig", name]) cpSync(join(out, file), join(changed, file));
    assert.equal(verify(changed).status, 0);
    const flip = (file: string): void => {
      const bytes = readFileSync(join(changed, file));
      bytes.writeUInt8(bytes.readUInt8(100) ^ 1, 100);
      writeFileSync(join(changed, file), bytes);
    };
    const check = () =>
      spawnSync("sha256sum", ["--check", "--ignore-missing", "SHA256SUMS"], { cwd: changed, encoding: "utf8" });
    assert.equal(check().status, 0);
    flip(name);
    assert.match(check().stdout, new RegExp(`^${name}: FAILED$`, "m"));
    flip("SHA256SUMS");
    assert.notEqual(verify(changed).status, 0);
  });

  billSuite(() => out, version);
  chartSuite(() => out, version, dir);
  npmSuite(() => out, version, dir);
  rpmSuite(() => out, version, dir);
  debSuite(() => out, dir);
  systemdSuite(() => out, version, dir);
  imageSuite(() => out, version, dir);
});
