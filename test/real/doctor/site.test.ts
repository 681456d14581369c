// `claviger doctor gateway`, `fleet` and `operator` at a whole lab: all is well, and where one thing is not, the row of
// that thing says so. And the bundle for support, which holds none of the lab's secrets.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { parse, stringify } from "yaml";
import type { Part } from "@claviger/cli/src/doctor/catalog.ts";
import type { DoctorRow } from "@claviger/cli/src/doctor/row.ts";
import { localKeyConfiguration } from "../../lab/encryption.ts";
import { type Lab, startLab } from "../../lab/lab.ts";
import { createLeaf } from "../../unit/certificates.ts";
import { claviger } from "../cli/claviger.ts";
import { clavigerHere } from "./here.ts";
import { at, broken, type Tree, type World } from "./site-wrongs.ts";

type Report = { readonly checks: readonly DoctorRow[] };
suite("claviger doctor at a whole site", () => {
  let dir: string;
  let lab: Lab;
  let files: Readonly<Record<Exclude<Part, "node">, string>>;
  let count = 0;
  let world: World;
  const foreign = createServer();

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "claviger-doctor-"));
    lab = await startLab({ dir: join(dir, "lab"), fleet: true });
    const [gateway] = lab.gateways;
    assert.ok(gateway !== undefined && lab.fleet !== undefined);
    // The lab's service took free ports: these are theirs.
    const fleet = parse(readFileSync(lab.fleet.config, "utf8")) as Tree;
    at(fleet, "listen")["port"] = Number(new URL(lab.fleet.url).port);
    at(fleet, "admin")["port"] = Number(new URL(lab.fleet.admin).port);
    writeFileSync(join(dir, "fleet.yaml"), stringify(fleet));
    const hour = 3_600_000;
    const notAfter = Date.now() - hour;
    const uri = "spiffe://lab.claviger.test/gateway";
    const issued = { issuer: lab.pki.authority, use: "server", uri, notAfter, notBefore: notAfter - hour } as const;
    const pair = await createLeaf(issued);
    const put = (name: string, text: string, mode: number): string => {
      writeFileSync(join(dir, name), text, { mode });
      chmodSync(join(dir, name), mode);
      return join(dir, name);
    };
    await once(foreign.listen(0, "127.0.0.1"), "listening");
    const key = "{ backend: main, mount: transit, key: nowhere }";
    const record = `clusters:\n  - { name: lost, uid: 01JD9Z6X3QK8V5T7W2M4N6P8RA, state: active, keys: [${key}] }\n`;
    world = {
      expired: { cert: put("expired.crt", pair.cert, 0o600), key: put("expired.key", pair.key, 0o600) },
      open: put("open", "word", 0o644),
      taken: (foreign.address() as AddressInfo).port,
      registry: put("lost.yaml", record, 0o600),
    };
    files = { gateway: gateway.config, fleet: join(dir, "fleet.yaml"), operator: lab.fleet.contexts };
  });
  after(async () => {
    foreign.close();
    await lab.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  const doctor = async (part: Part, file: string, ...args: readonly string[]) => {
    const words = ["doctor", part, "--config", file, "--fix-hints", "-o", "json", ...args];
    const { status, out, err } = await clavigerHere(words, dir);
    return { status, checks: (JSON.parse(out) as Report).checks, err };
  };

  const doctorApart = async (part: Part, file: string, env: NodeJS.ProcessEnv) => {
    const { status, out, err } = await claviger(["doctor", part, "--config", file, "-o", "json"], env);
    return { status, checks: (JSON.parse(out) as Report).checks, err };
  };

  for (const part of ["gateway", "fleet", "operator"] as const)
    test(`${part}: where all is well every row is ok`, async () => {
      const { status, checks } = await doctor(part, files[part]);
      // Half of a fleet service's console is the pages, which a start from source has not.
      const bad = checks.filter(({ id, state }) => state !== "ok" && id !== "fleet.console");
      assert.deepEqual(bad, []);
      assert.equal(status, 0);
      assert.ok(checks.length > 5);
    });

  test("operator: the configuration of a gateway is said to be one, in one row", async () => {
    const { status, checks } = await doctor("operator", files.gateway);
    assert.equal(status, 1);
    assert.deepEqual(
      checks.map(({ id, found }) => [id, found.split(":")[0]]),
      [["operator.context", "is the configuration of a gateway, and no file of contexts"]],
    );
  });

  test("gateway: a token that may do more than a gateway needs is named, with what it may", async () => {
    const settings = parse(readFileSync(files.gateway, "utf8")) as Tree;
    assert.ok(lab.vault !== undefined);
    at(settings, "backends", "main")["auth"] = { kind: "token", file: lab.vault.tokenFile };
    const file = join(dir, "root.yaml");
    writeFileSync(file, stringify(settings));
    const { checks } = await doctor("gateway", file);
    const row = checks.find(({ id, state }) => id === "gateway.vault.rights" && state === "warning");
    assert.match(row?.found ?? "", /list the keys of transit, decrypt with every key of transit, read sys\/mounts/);
    assert.match(row?.hint ?? "", /claviger vault init/);
  });

  for (const { part, what, change, id, state, found, env } of broken)
    test(`${part}: ${what}`, async () => {
      const settings = parse(readFileSync(files[part], "utf8")) as Tree;
      change(settings, world);
      const file = join(dir, `${part}-${(count += 1)}.yaml`);
      writeFileSync(file, stringify(settings), { mode: 0o600 });
      const { status, checks } = await (env === undefined ? doctor(part, file) : doctorApart(part, file, env));
      const row = checks.find((one) => one.id === id && one.state === state);
      assert.ok(row !== undefined, JSON.stringify(checks, undefined, 1));
      assert.match(row.found, found);
      assert.equal(status, checks.some((one) => one.state === "failure") ? 1 : 0);
    });

  /** What is secret in the lab: each line of a key, each token and password. */
  const secrets = (): readonly string[] => {
    const found = readdirSync(lab.dir, { recursive: true, encoding: "utf8" }).flatMap((name) => {
      const path = join(lab.dir, name);
      if (!/(?:\.key|token|password|secret-id|keys\.json)$/i.test(name) || !statSync(path).isFile()) return [];
      return readFileSync(path, "utf8").split("\n");
    });
    return found.filter((line) => line.length > 15 && !line.includes("-----"));
  };

  test("a bundle that cannot be written leaves nothing, and follows no link", async () => {
    const [full, link, aim] = [join(dir, "full.tar.gz"), join(dir, "link.tar.gz"), join(dir, "aim")];
    // No file may be longer than 1 KiB.
    const words = ["doctor", "gateway", "--config", files.gateway, "--bundle", full];
    const limited = "trap '' XFSZ; ulimit -f 1; exec \"$@\"";
    const main = join(import.meta.dirname, "..", "..", "..", "gateway", "cli", "src", "main.ts");
    const ran = spawnSync("bash", ["-c", limited, "bash", process.execPath, main, ...words], { encoding: "utf8" });
    assert.match(ran.stderr, /--bundle \S+ cannot be written \(EFBIG/);
    assert.equal(ran.status, 1);
    assert.ok(!existsSync(full));
    symlinkSync(aim, link);
    const { status, err } = await doctor("gateway", files.gateway, "--bundle", link);
    assert.match(err, /cannot be written \(EEXIST/);
    assert.equal(status, 1);
    assert.ok(!existsSync(aim));
  });

  test("a bundle has findings, versions, settings and metrics, and none of the lab's secrets", async () => {
    const [shim] = lab.shims;
    assert.ok(shim !== undefined);
    const key = Buffer.alloc(32, 7);
    const encryption = join(dir, "encryption.yaml");
    writeFileSync(encryption, localKeyConfiguration("aescbc", key));
    const all = [...secrets(), key.toString("base64")];
    assert.ok(all.length > 15, `${all.length} secrets`);
    const runs = [
      { part: "node", file: shim.config, args: ["--encryption-config", encryption], config: "shim.json" },
      { part: "gateway", file: files.gateway, args: [], config: "gateway.json" },
      { part: "fleet", file: files.fleet, args: [], config: "fleet.json" },
      { part: "operator", file: files.operator, args: [], config: "contexts.json" },
    ] as const;
    for (const { part, file, args, config } of runs) {
      const bundle = join(dir, `${part}.tar.gz`);
      await doctor(part, file, "--bundle", bundle, ...args);
      assert.equal(statSync(bundle).mode & 0o777, 0o600);
      const into = join(dir, part);
      mkdirSync(into);
      execFileSync("tar", ["-xzf", bundle, "-C", into]);
      const names = readdirSync(join(into, "claviger-doctor")).toSorted();
      const wanted = [
        "doctor.json",
        "versions.json",
        config,
        ...(part === "operator" ? [] : ["metrics.txt", "readyz.json"]),
      ];
      assert.deepEqual(
        names.filter((name) => name !== "encryption.json"),
        wanted.toSorted(),
      );
      const texts = names.map((name) => readFileSync(join(into, "claviger-doctor", name), "utf8")).join("\n");
      if (part !== "operator") assert.match(texts, /claviger_\w+_certificate_seconds_left/);
      if (part === "node") assert.match(texts, /"secret": "\[secret\]"/);
      assert.deepEqual(
        all.filter((secret) => texts.includes(secret)),
        [],
      );
      const again = await doctor(part, file, "--bundle", bundle);
      assert.match(again.err, /cannot be written \(EEXIST/);
      assert.equal(again.status, 1);
    }
  });
});
