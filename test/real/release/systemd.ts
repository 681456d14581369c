// The deb packages of a release on a Debian that has booted: started, killed, reloaded, upgraded and
// removed by systemd and dpkg as on a node, while kube-apiserver's calls go on.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { appendFileSync, copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { bootDebian, type DebianMachine } from "../../lab/debian-machine.ts";
import { type KmsClient, kmsClient } from "../../lab/kms.ts";
import { createProcessGroup, tailOf, until } from "../../lab/process-group.ts";
import { debianRoot } from "../../parts/debian.ts";

const pair = ["claviger-gateway", "claviger-shim"] as const;
const services = [...pair, "claviger-fleet"];
const socket = "/run/claviger/kms.sock";

/** The same package, of a later version whose configuration begins with another one. */
function successor(
  deb: string,
  { version, scratch, target }: { version: string; scratch: string; target: string },
): void {
  execFileSync("dpkg-deb", ["--raw-extract", deb, scratch]);
  const control = join(scratch, "DEBIAN/control");
  const text = readFileSync(control, "utf8");
  writeFileSync(control, text.replace(/^Version: .*$/m, `Version: ${version}`));
  for (const file of readdirSync(join(scratch, "etc/claviger")))
    appendFileSync(join(scratch, "etc/claviger", file), "# a new line\n");
  execFileSync("dpkg-deb", ["--root-owner-group", "-Znone", "--build", scratch, target], { stdio: "ignore" });
}

const configuration = `set -e
cd /etc/claviger
claviger pki init --dir pki --trust-domain fleet.example
claviger pki gateway --dir pki --ip 127.0.0.1
claviger pki node --dir pki --cluster edge --node n1
for ending in crt key; do
  install -o claviger-gateway -g claviger-gateway -m 0400 pki/gateway.$ending gateway.$ending
  install -o claviger-shim -g claviger-shim -m 0400 pki/edge_n1.$ending shim.$ending
done
install -m 0444 pki/ca.crt ca.crt
cat > gateway.yaml <<END
listen: { address: 127.0.0.1, port: 8443 }
admin: { address: 127.0.0.1, port: 9443 }
tls: { cert: /etc/claviger/gateway.crt, key: /etc/claviger/gateway.key, clientCa: /etc/claviger/ca.crt }
trustDomain: fleet.example
registry: { kind: file, file: /etc/claviger/clusters.yaml }
backends: { local: { kind: embedded, file: /var/lib/claviger-gateway/keys.json } }
audit: { sinks: [{ kind: file, path: /var/log/claviger-gateway/audit.jsonl }] }
END
cat > clusters.yaml <<END
clusters: [{ name: edge, uid: 01JD9Z6X3QK8V5T7W2M4N6P8RA, state: active, rotation: auto, keys: [{ backend: local, mount: transit, key: edge }] }]
END
cat > shim.yaml <<END
socket: { path: ${socket}, mode: "0660" }
gateways: ["https://127.0.0.1:8443"]
tls: { cert: /etc/claviger/shim.crt, key: /etc/claviger/shim.key, ca: /etc/claviger/ca.crt }
health: { address: 127.0.0.1, port: 9101 }
END
`;

/** @param release where the release is, once it is made */
export function systemdSuite(release: () => string, version: string, dir: string): void {
  suite("its deb packages under systemd", () => {
    const root = join(dir, "machine");
    const processes = createProcessGroup(dir);
    let machine: DebianMachine;
    let kms: KmsClient;
    const done = (...argv: readonly string[]): string => {
      const { status, said } = machine.run(...argv);
      assert.equal(status, 0, `${argv.join(" ")}: ${said}`);
      return said;
    };
    const property = (service: string, name: string): string =>
      done("systemctl", "show", "--value", "--property", name, service).trim();
    const served = (): Promise<true> =>
      until("the shim to serve what kube-apiserver asks", undefined, () =>
        machine.run("claviger", "check", "--socket", socket).status === 0 ? true : undefined,
      );

    before(async () => {
      debianRoot(root);
      mkdirSync(join(root, "debs/next"), { recursive: true });
      for (const file of readdirSync(release()).filter((name) => /_(?:all|amd64)\.deb$/.test(name)))
        copyFileSync(join(release(), file), join(root, "debs", file));
      for (const name of pair)
        successor(join(release(), `${name}_${version}_all.deb`), {
          version: `${version}+1`,
          scratch: join(dir, `${name}-next`),
          target: join(root, "debs/next", `${name}.deb`),
        });
      machine = await bootDebian(processes, root);
      kms = kmsClient(machine.path(socket));
      done("sh", "-c", "dpkg --install /debs/*.deb");
    });
    after(async () => {
      try {
        kms.close();
        await machine.stop();
      } finally {
        await processes.stopAll();
      }
    });

    test("start nothing when they are installed, and have units that systemd accepts there", () => {
      for (const name of services) {
        assert.deepEqual([property(name, "ActiveState"), property(name, "UnitFileState")], ["inactive", "disabled"]);
        assert.equal(done("systemd-analyze", "verify", "--man=no", `${name}.service`), "");
        assert.match(done("systemd-analyze", "security", "--no-pager", name), /exposure level .* 1\.\d OK/);
      }
    });

    test("start a shim whose gateway is away, with a socket for its group alone", async () => {
      done("sh", "-c", configuration);
      done("systemctl", "enable", "--now", "claviger-shim");
      await until("a socket", undefined, () => (machine.run("test", "-S", socket).status === 0 ? true : undefined));
      assert.equal(done("stat", "-L", "-c", "%U:%G %a", socket), "claviger-shim:claviger-shim 660\n");
      assert.equal(done("stat", "-c", "%U:%G %a", "/run/claviger"), "claviger-shim:claviger-shim 750\n");
      assert.match(
        machine.run("claviger", "check", "--socket", socket).said,
        /FAIL +Status .* no gateway can be reached/,
      );
      assert.equal(property("claviger-shim", "NRestarts"), "0");
      // kube-apiserver's kubelet comes after it.
      assert.match(property("claviger-shim", "Before"), /\bkubelet\.service\b/);
    });

    test("serve what kube-apiserver asks once the gateway is started", async () => {
      done("systemctl", "enable", "--now", "claviger-gateway");
      await served();
    });

    test("come back after a kill, and after a configuration that cannot be read", async () => {
      for (const name of pair) {
        done("systemctl", "kill", "--signal=KILL", name);
        await until(`${name} to run again`, undefined, () =>
          property(name, "NRestarts") === "1" && property(name, "ActiveState") === "active" ? true : undefined,
        );
      }
      done("sed", "-i", "s/^gateways/gatewayz/", "/etc/claviger/shim.yaml");
      done("systemctl", "restart", "claviger-shim");
      await until("a second try", undefined, () => (property("claviger-shim", "NRestarts") === "2" ? true : undefined));
      done("sed", "-i", "s/^gatewayz/gateways/", "/etc/claviger/shim.yaml");
      await served();
    });

    test("say what is the matter with the directory of the socket, and serve once it is mended", async () => {
      const says = (text: RegExp) =>
        until(`the shim to say ${text.source}`, undefined, () =>
          text.test(machine.run("journalctl", "--no-pager", "--output=cat", "--unit=claviger-shim", "--lines=5").said)
            ? true
            : undefined,
        );
      done("systemctl", "stop", "claviger-shim");
      done("rm", "-r", "/run/claviger");
      done("systemctl", "start", "claviger-shim");
      await says(/the directory \/run\/claviger does not exist; make it/);
      done("mkdir", "--mode=0750", "/run/claviger");
      await says(/the directory \/run\/claviger cannot be written to by this user \(EACCES\); make it the user's/);
      done("systemd-tmpfiles", "--create", "/usr/lib/tmpfiles.d/claviger-shim.conf");
      await served();
    });

    test("are in the journal by their names and levels", () => {
      const journal = (name: string, priority: string): string =>
        done(
          "journalctl",
          "--no-pager",
          "--output=short",
          `--unit=${name}`,
          `--priority=${priority}`,
          `SYSLOG_IDENTIFIER=${name}`,
        );
      for (const name of pair) {
        assert.match(journal(name, "info"), new RegExp(` ${name}\\[\\d+\\]: .*"event":"ready"`));
        assert.match(journal(name, "warning"), /"level":40/);
        assert.doesNotMatch(journal(name, "warning"), /"level":30/);
      }
      assert.match(journal("claviger-shim", "err"), /claviger-shim\[\d+\]: +gatewayz: no such setting$/m);
    });

    test("go on with a new audit file after a rotation and after a reload, with nothing lost", async () => {
      const log = join(root, "var/log/claviger-gateway");
      const lines = (name: string): number => readFileSync(join(log, name), "utf8").split("\n").length - 1;
      const before = lines("audit.jsonl");
      const pid = property("claviger-gateway", "MainPID");
      done("logrotate", "--force", "/etc/logrotate.d/claviger-gateway");
      const { ciphertext, keyId } = await kms.encrypt(Buffer.from("after a rotation"));
      await kms.decrypt({ ciphertext, keyId });
      const [rotated = ""] = readdirSync(log).filter((name) => name.startsWith("audit.jsonl-"));
      await until("the two records in a new file", undefined, () =>
        readdirSync(log).includes("audit.jsonl") && lines("audit.jsonl") >= 2 ? true : undefined,
      );
      assert.ok(lines(rotated) >= before);
      done("systemctl", "reload", "claviger-gateway");
      assert.equal(property("claviger-gateway", "MainPID"), pid);
      assert.match(
        done("sh", "-c", "claviger audit verify --offline /var/log/claviger-gateway/audit.jsonl* || [ $? = 3 ]"),
        /no sign of tampering/,
      );
    });

    test("serve after a boot, in a /run that is empty then", async () => {
      kms.close();
      await machine.stop();
      machine = await bootDebian(processes, root);
      await served();
      assert.equal(done("stat", "-c", "%U:%G %a", "/run/claviger"), "claviger-shim:claviger-shim 750\n");
      for (const name of pair) assert.equal(property(name, "NRestarts"), "0");
      kms = kmsClient(machine.path(socket));
    });

    test("are upgraded unattended under calls of kube-apiserver: none fails, and what was configured stays", async () => {
      const sealed = await kms.encrypt(Buffer.from("before the upgrade"));
      const pids = pair.map((name) => property(name, "MainPID"));
      const ours = done("cat", "/etc/claviger/shim.yaml");
      const upgrade = processes.start(
        "upgrade",
        machine.command("sh", "-c", "dpkg --force-confold --install /debs/next/*.deb"),
      );
      let calls = 0;
      // One call at least after its end. Each waits for a socket, as kube-apiserver's do.
      for (let isOver = false; !isOver; calls++) {
        isOver = upgrade.child.exitCode !== null;
        assert.equal((await kms.decrypt(sealed, 10_000)).toString(), "before the upgrade");
      }
      assert.equal(upgrade.child.exitCode, 0, tailOf(upgrade));
      assert.ok(calls > 10);
      for (const [i, name] of pair.entries()) assert.notEqual(property(name, "MainPID"), pids[i]);
      assert.equal(done("cat", "/etc/claviger/shim.yaml"), ours);
      // Installed and never started.
      assert.equal(property("claviger-fleet", "ActiveState"), "inactive");
    });

    test("are removed with their services stopped, and leave no unit behind", async () => {
      kms.close();
      // Or the shim waits for a client that cannot leave while this process waits for the shim.
      await setImmediate();
      done("dpkg", "--purge", "claviger-shim");
      assert.equal(machine.run("systemctl", "cat", "claviger-shim").status, 1);
      assert.equal(machine.run("test", "-e", "/run/claviger").status, 1);
      // A private key is left, and with it whose it is.
      assert.equal(done("stat", "-c", "%U", "/etc/claviger/shim.key"), "claviger-shim\n");
    });
  });
}
