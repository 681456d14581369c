// The rpm packages of a release, as rpm reads them, and as it runs their scripts: by the rpm of a Debian that has
// booted, since there is no Fedora to install them in.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { bootDebian } from "../../lab/debian-machine.ts";
import { createProcessGroup } from "../../lab/process-group.ts";
import { debianRoot } from "../../parts/debian.ts";

/** A shim that runs: it needs a certificate, and no gateway. */
const configuration = `set -e
cd /etc/claviger
claviger pki init --dir pki --trust-domain fleet.example
claviger pki node --dir pki --cluster edge --node n1
cp pki/ca.crt .
for ending in crt key; do
  install -o claviger-shim -g claviger-shim -m 0400 pki/edge_n1.$ending shim.$ending
done
rm -r pki
cat > shim.yaml <<END
socket: { path: /run/claviger/kms.sock, mode: "0660" }
gateways: ["https://127.0.0.1:8443"]
tls: { cert: /etc/claviger/shim.crt, key: /etc/claviger/shim.key, ca: /etc/claviger/ca.crt }
health: { address: 127.0.0.1, port: 9101 }
END
systemctl enable --now claviger-shim
`;

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

    test("run their scripts under systemd: nothing is started, an upgrade restarts, what is erased is stopped", async (t) => {
      const root = join(dir, "rpm-machine");
      const processes = createProcessGroup(dir);
      debianRoot(root);
      mkdirSync(join(root, "rpms"));
      for (const file of files().filter((name) => !name.includes("aarch64")))
        copyFileSync(join(release(), file), join(root, "rpms", file));
      const machine = await bootDebian(processes, root);
      t.after(async () => {
        await machine.stop();
        await processes.stopAll();
      });
      const done = (...argv: readonly string[]): string => {
        const { status, said } = machine.run(...argv);
        assert.equal(status, 0, `${argv.join(" ")}: ${said}`);
        return said;
      };
      const state = (): readonly string[] =>
        done("systemctl", "show", "--value", "--property=ActiveState,UnitFileState,MainPID", "claviger-shim")
          .split("\n")
          .filter((line) => line !== "");
      // The libraries of this Debian are in no database of rpm's.
      done("sh", "-c", "rpm --install --nodeps /rpms/*.rpm");
      assert.deepEqual(state().toSorted(), ["0", "disabled", "inactive"]);
      done("sh", "-c", configuration);
      const before = state();
      assert.ok(before.includes("active") && before.includes("enabled"), before.join());
      const ours = readFileSync(join(root, "etc/claviger/shim.yaml"), "utf8");
      done("sh", "-c", "rpm --upgrade --force --nodeps /rpms/claviger-shim-*.rpm");
      const after = state();
      assert.ok(after.includes("active") && after.includes("enabled"), after.join());
      assert.notDeepEqual(after, before);
      assert.equal(readFileSync(join(root, "etc/claviger/shim.yaml"), "utf8"), ours);
      done(
        "rpm",
        "--erase",
        "--nodeps",
        "claviger",
        "claviger-shim",
        "claviger-gateway",
        "claviger-fleet",
        "claviger-node",
      );
      assert.equal(machine.run("systemctl", "cat", "claviger-shim").status, 1);
      const left = done("find", "/etc", "/usr", "-path", "*claviger*").trim().split("\n");
      assert.deepEqual(
        left.toSorted(),
        ["", "/ca.crt", "/shim.crt", "/shim.key", "/shim.yaml.rpmsave"].map((name) => `/etc/claviger${name}`),
      );
      assert.match(done("id", "--user", "--name", "claviger-shim"), /^claviger-shim$/m);
    });

    test("need the Node.js of the release, and no other", () => {
      const needed = rpm("-qpR", `claviger-gateway-${version}-1.noarch.rpm`);
      assert.match(needed, /^claviger-node >= \d+\.\d+\.\d+$/m);
      assert.doesNotMatch(needed, /nodejs/);
    });
  });
}
