// The deb packages of a release, in a Debian of their own: installed, run under the filters of their
// units, upgraded, purged.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  appendFileSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { createProcessGroup, readyLine } from "../../lab/process-group.ts";
import { readUnit, type Unit, unitCommand } from "../../lab/unit.ts";
import { debianRoot } from "../../parts/debian.ts";

const services = ["claviger-shim", "claviger-gateway", "claviger-fleet"] as const;
const names = ["claviger-node", "claviger", ...services];

/** What was there before and has to be there afterwards: each file and, of the users', the content. */
function traces(root: string): readonly string[] {
  const found = execFileSync("find", [root, "-xdev", "-mindepth", "1", "-printf", "%P\n"], {
    encoding: "utf8",
    maxBuffer: 2 ** 26,
  });
  const paths = found.split("\n").filter(
    // What dpkg and useradd keep of their own work.
    (path) =>
      !/^(?:var\/lib\/dpkg\/|var\/log\/dpkg\.log|var\/cache\/ldconfig|etc\/\.pwd\.lock|etc\/g?(?:passwd|group|shadow)-$|debs)/.test(
        path,
      ),
  );
  const users = ["passwd", "group", "shadow", "gshadow"].map((name) => {
    const hash = createHash("sha256").update(readFileSync(join(root, "etc", name)));
    return `etc/${name} ${hash.digest("hex")}`;
  });
  return [...paths, ...users].toSorted();
}

/** Numbers in the place of the user's names: a sandbox has no passwd of the chroot. */
function numbered(unit: Unit, root: string): Unit {
  const numbers = new Map(
    ["passwd", "group"].flatMap((file) =>
      readFileSync(join(root, "etc", file), "utf8")
        .split("\n")
        .map((line) => line.split(":"))
        .map(([name = "", , id = ""]) => [`${file} ${name}`, id] as const),
    ),
  );
  return {
    ...unit,
    one(name) {
      const value = unit.one(name);
      const file = { User: "passwd", Group: "group" }[name];
      return file === undefined ? value : (numbers.get(`${file} ${value}`) ?? value);
    },
  };
}

/** @param release where the release is, once it is made */
export function debSuite(release: () => string, dir: string): void {
  suite("its deb packages", () => {
    const root = join(dir, "debian");
    const processes = createProcessGroup(dir);
    const inRoot = (...argv: readonly string[]) =>
      spawnSync("chroot", [root, ...argv], { encoding: "utf8", env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" } });
    const done = (...argv: readonly string[]): string => {
      const { status, stdout, stderr } = inRoot(...argv);
      assert.equal(status, 0, `${argv.join(" ")}: ${stdout}${stderr}`);
      return stdout + stderr;
    };
    const unitOf = (name: string): Unit =>
      numbered(readUnit(join(root, "usr/lib/systemd/system", `${name}.service`)), root);
    /** As systemd starts it: with the directories of its unit, its user, limits and filter. */
    const start = (name: string) => {
      const unit = unitOf(name);
      const owner = [Number(unit.one("User")), Number(unit.one("Group"))] as const;
      for (const [setting, at] of Object.entries({
        CacheDirectory: "var/cache",
        StateDirectory: "var/lib",
        LogsDirectory: "var/log",
      }))
        for (const directory of unit.all(setting)) {
          mkdirSync(join(root, at, directory), { recursive: true });
          chownSync(join(root, at, directory), ...owner);
        }
      const [key = "", value = ""] = unit.one("Environment").split("=");
      return processes.start(name, unitCommand(unit, { replaced: {}, root }), { [key]: value });
    };
    let untouched: readonly string[];

    before(() => {
      debianRoot(root);
      untouched = traces(root);
      mkdirSync(join(root, "debs"));
      execFileSync("mount", ["-t", "proc", "proc", join(root, "proc")]);
      for (const file of readdirSync(release()).filter((name) => /_(?:all|amd64)\.deb$/.test(name)))
        cpSync(join(release(), file), join(root, "debs", file));
    });
    after(async () => {
      await processes.stopAll();
      execFileSync("umount", [join(root, "proc")]);
    });

    test("install in a clean Debian, with a user of its own for each service", () => {
      done("sh", "-c", "dpkg --install /debs/*.deb");
      for (const name of services)
        assert.match(readFileSync(join(root, "etc/passwd"), "utf8"), new RegExp(`^${name}:`, "m"));
      for (const name of ["claviger", ...services]) assert.match(done(name, "--version"), /^\d+\.\d+\.\d+\n$/);
    });

    test("have units that systemd accepts without a remark", () => {
      for (const name of services) {
        const unit = readFileSync(join(root, "usr/lib/systemd/system", `${name}.service`), "utf8");
        // The unit names a program of its Debian.
        const here = join(dir, `${name}.service`);
        writeFileSync(here, unit.replace("/usr/libexec/claviger/node", join(root, "usr/libexec/claviger/node")));
        const { stdout, stderr } = spawnSync("systemd-analyze", ["verify", "--man=no", here], { encoding: "utf8" });
        const remarks = (stdout + stderr).split("\n").filter((line) => line.includes(name));
        assert.deepEqual(remarks, []);
      }
    });

    test("have manual pages that man shows without a warning, and completions that shells read", () => {
      const share = join(root, "usr/share");
      const pages = readdirSync(join(share, "man"), { recursive: true, encoding: "utf8" }).filter((name) =>
        /\/claviger[^/]*\.gz$/.test(name),
      );
      for (const page of [
        "man1/claviger.1",
        "man1/claviger-key.1",
        "man5/claviger-gateway.yaml.5",
        "man8/claviger-shim.8",
      ])
        assert.ok(pages.includes(`${page}.gz`), page);
      for (const page of pages) {
        const shown = spawnSync("man", ["--warnings", "--local-file", join(share, "man", page)], { encoding: "utf8" });
        assert.deepEqual([shown.status, shown.stderr], [0, ""], page);
        assert.match(shown.stdout, /^NAME\n +claviger[^ ]* - \S/m, page);
      }
      execFileSync("bash", ["-n", join(share, "bash-completion/completions/claviger")]);
      execFileSync("zsh", ["-n", join(share, "zsh/vendor-completions/_claviger")]);
      execFileSync("fish", ["--no-execute", join(share, "fish/vendor_completions.d/claviger.fish")]);
    });

    test("have configurations that their programs read", () => {
      for (const name of services) {
        const file = `/etc/claviger/${name.replace("claviger-", "")}.yaml`;
        const { stdout, stderr } = inRoot(name, "--config", file, "--check");
        // The files that it names are not there yet.
        assert.match(stdout + stderr, /^configuration +ok /m, name);
      }
    });

    test("serve what kube-apiserver asks, gateway and shim each by its unit's command under its unit's filter", async () => {
      const pki = "/etc/claviger/pki";
      done("claviger", "pki", "init", "--dir", pki, "--trust-domain", "fleet.example");
      done("claviger", "pki", "gateway", "--dir", pki, "--ip", "127.0.0.1");
      done("claviger", "pki", "node", "--dir", pki, "--cluster", "edge", "--node", "n1");
      const configure = (service: string, pair: string, yaml: string): void => {
        const name = service.replace("claviger-", "");
        for (const ending of ["crt", "key"])
          done(
            "install",
            "-o",
            service,
            "-g",
            service,
            "-m",
            "0400",
            `${pki}/${pair}.${ending}`,
            `/etc/claviger/${name}.${ending}`,
          );
        writeFileSync(join(root, "etc/claviger", `${name}.yaml`), yaml);
      };
      done("install", "-m", "0444", `${pki}/ca.crt`, "/etc/claviger/ca.crt");
      configure(
        "claviger-gateway",
        "gateway",
        `listen: { address: 127.0.0.1, port: 0 }
admin: { address: 127.0.0.1, port: 0 }
tls: { cert: /etc/claviger/gateway.crt, key: /etc/claviger/gateway.key, clientCa: /etc/claviger/ca.crt }
trustDomain: fleet.example
registry: { kind: file, file: /etc/claviger/clusters.yaml }
backends: { local: { kind: embedded, file: /var/lib/claviger-gateway/keys.json } }
audit: { sinks: [{ kind: file, path: /var/log/claviger-gateway/audit.jsonl }] }
`,
      );
      writeFileSync(
        join(root, "etc/claviger/clusters.yaml"),
        "clusters: [{ name: edge, uid: 01JD9Z6X3QK8V5T7W2M4N6P8RA, state: active, rotation: auto, keys: [{ backend: local, mount: transit, key: edge }] }]\n",
      );
      const gateway = start("claviger-gateway");
      const { listen } = await readyLine(gateway);
      configure(
        "claviger-shim",
        "edge_n1",
        `socket: { path: /run/claviger/kms.sock, mode: "0660" }
gateways: ["${String(listen)}"]
tls: { cert: /etc/claviger/shim.crt, key: /etc/claviger/shim.key, ca: /etc/claviger/ca.crt }
health: { address: 127.0.0.1, port: 0 }
`,
      );
      const shim = start("claviger-shim");
      await readyLine(shim);
      done("claviger", "check", "--socket", "/run/claviger/kms.sock");
      const status = readFileSync(`/proc/${shim.pid}/status`, "utf8");
      assert.match(status, /^Seccomp:\s+2$/m);
      for (const proc of [gateway, shim]) {
        await processes.stop(proc);
        assert.equal(proc.child.exitCode, 0);
      }
    });

    test("rotate audit files, with nothing of them lost", () => {
      const log = join(root, "var/log/claviger-gateway");
      const before = readFileSync(join(log, "audit.jsonl"), "utf8");
      done("logrotate", "--state", "/debs/logrotate", "--force", "/etc/logrotate.d/claviger-gateway");
      const [rotated = ""] = readdirSync(log).filter((name) => name.startsWith("audit.jsonl-"));
      assert.equal(readFileSync(join(log, rotated), "utf8"), before);
      assert.equal(existsSync(join(log, "audit.jsonl")), false);
    });

    test("keep a changed configuration when they are installed again", () => {
      const file = join(root, "etc/claviger/shim.yaml");
      appendFileSync(file, "# ours\n");
      const ours = readFileSync(file, "utf8");
      done("sh", "-c", "dpkg --install /debs/claviger-shim_*.deb");
      assert.equal(readFileSync(file, "utf8"), ours);
    });

    test("are purged without a trace, but for keys and records, which are named", () => {
      const said = done("dpkg", "--purge", ...names.toReversed());
      for (const kept of ["/var/lib/claviger-gateway", "/var/log/claviger-gateway"])
        assert.match(said, new RegExp(`claviger-gateway: ${kept} stays`));
      // Nobody else gets the number of whom a private key is of.
      assert.match(said, /^claviger-shim: these stay, .* 'userdel claviger-shim': .*\/etc\/claviger\/shim\.key/m);
      assert.ok(existsSync(join(root, "var/lib/claviger-gateway/keys.json")));
      // What the administrator made.
      done("rm", "-r", "/etc/claviger", "/var/lib/claviger-gateway", "/var/log/claviger-gateway");
      for (const user of ["claviger-shim", "claviger-gateway"]) done("userdel", user);
      assert.deepEqual(traces(root), untouched);
    });

    test("are purged without any trace where nothing was made", () => {
      done("sh", "-c", "dpkg --install /debs/*.deb");
      done("dpkg", "--purge", ...names.toReversed());
      assert.deepEqual(traces(root), untouched);
    });
  });
}
