// The rpm packages of a release, as rpm reads them: there is no Fedora to install them in.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";

/** @param release where the release is, once it is made */
export function rpmSuite(release: () => string, version: string, dir: string): void {
  suite("its rpm packages", () => {
    const rpm = (...args: readonly string[]): string => {
      // No database of the machine is asked or made.
      const database = mkdtempSync(join(dir, "rpmdb-"));
      return execFileSync("rpm", ["--dbpath", database, ...args], { cwd: release(), encoding: "utf8" });
    };
    const files = (): readonly string[] => readdirSync(release()).filter((name) => name.endsWith(".rpm"));

    test("are whole, of root's files, and named as they are", () => {
      assert.equal(files().length, 6);
      for (const file of files()) {
        assert.match(rpm("--checksig", "--nosignature", file), /digests OK/);
        assert.equal(rpm("-qp", "--qf", "%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm", file), file);
        const owners = rpm("-qp", "--qf", "[%{FILEUSERNAME}:%{FILEGROUPNAME}\n]", file).trim().split("\n");
        assert.deepEqual([...new Set(owners)], ["root:root"], file);
      }
    });

    test("have what the deb packages have, and keep a configuration that was changed", () => {
      for (const name of ["claviger", "claviger-shim", "claviger-gateway", "claviger-fleet"]) {
        const lines = rpm("-qplv", `${name}-${version}-1.noarch.rpm`).trim().split("\n");
        const listed = lines.filter((line) => !line.startsWith("d")).map((line) => line.split(/\s+/).at(-1) ?? "");
        const deb = execFileSync("dpkg-deb", ["--contents", `${name}_${version}_all.deb`], {
          cwd: release(),
          encoding: "utf8",
        });
        const inDeb = deb
          .trim()
          .split("\n")
          .map((line) => line.split(/\s+/)[5]?.replace(/^\./, "") ?? "")
          .filter((path) => !path.endsWith("/"));
        assert.deepEqual(listed.toSorted(), inDeb.toSorted());
      }
      assert.equal(rpm("-qpc", `claviger-shim-${version}-1.noarch.rpm`), "/etc/claviger/shim.yaml\n");
      const flags = rpm(
        "-qp",
        "--qf",
        "[%{FILENAMES} %{FILEFLAGS:fflags}\n]",
        `claviger-gateway-${version}-1.noarch.rpm`,
      );
      assert.match(flags, /^\/etc\/claviger\/gateway\.yaml cn$/m);
    });

    test("own the directories that are theirs alone, or rpm would leave them behind", () => {
      const lines = rpm("-qplv", `claviger-shim-${version}-1.noarch.rpm`).trim().split("\n");
      const folders = lines.filter((line) => line.startsWith("d")).map((line) => line.split(/\s+/).at(-1));
      assert.deepEqual(folders, ["/etc/claviger", "/usr/lib/claviger", "/usr/share/doc/claviger-shim"]);
    });

    test("need the Node.js of the release, and no other", () => {
      const needed = rpm("-qpR", `claviger-gateway-${version}-1.noarch.rpm`);
      assert.match(needed, /^claviger-node >= \d+\.\d+\.\d+$/m);
      assert.doesNotMatch(needed, /nodejs/);
    });
  });
}
