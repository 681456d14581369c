// A node comes to a certificate with a token, once, and keeps it renewed, without losing a call: with the
// authority of a directory, and with the PKI of an OpenBao. (docs/architecture.md #enrollment.)
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, suite, test } from "node:test";
import { createPki, type LabGateway, type Pki, startGateway, startShim, writeRegistry } from "../../lab/fleet.ts";
import { type LabFleetService, setUpFleetVault, startFleetService } from "../../lab/fleet-service.ts";
import { kmsClient } from "../../lab/kms.ts";
import { type OpenBao, startOpenBao } from "../../lab/openbao.ts";
import { createProcessGroup, type ProcessGroup } from "../../lab/process-group.ts";
import { callFleet } from "../../../shim/src/fleet-service.ts";
import { createSigningRequest } from "../../../shim/src/signing-request.ts";
import { claviger } from "../cli/claviger.ts";

const shim = join(import.meta.dirname, "..", "..", "..", "shim", "src", "main.ts");

type Ended = { readonly status: number | null; readonly out: string; readonly err: string };

async function runShim(args: readonly string[]): Promise<Ended> {
  const child = spawn(process.execPath, [shim, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const closed = new Promise<number | null>((resolve) => child.once("close", resolve));
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { status: await closed, out, err };
}

function enroll(args: readonly string[]): Promise<Ended> {
  return runShim(["enroll", ...args]);
}

for (const kind of ["directory", "vault"] as const)
  suite(`a node enrolls, and the certificates come from ${kind === "vault" ? "OpenBao's PKI" : "a directory"}`, () => {
    let dir: string;
    let processes: ProcessGroup;
    let pki: Pki;
    let gateway: LabGateway;
    let fleet: LabFleetService;
    let bao: OpenBao | undefined;
    let made = 0;

    before(async () => {
      dir = await mkdtemp(join(tmpdir(), "claviger-"));
      processes = createProcessGroup(dir);
      pki = await createPki(dir);
      const registry = writeRegistry(dir, [{ name: "cluster-1", key: "cluster-1" }]);
      gateway = await startGateway({ processes, dir, name: "gateway-1", pki, registry });
      const common = {
        gateways: [gateway.url],
        registry: { kind: "file", file: registry },
        certificates: {
          ca: { kind: "directory", directory: join(dir, "pki") },
          // The shortest life there may be: a third of it is for a machine that is busy.
          lifetime: "30s",
          trustBundle: pki.ca,
        },
      };
      if (kind === "directory") {
        fleet = await startFleetService({ processes, dir, pki, settings: common });
        return;
      }
      bao = await startOpenBao(processes, dir);
      const main = await setUpFleetVault(bao, pki, dir);
      const settings = {
        ...common,
        backends: { main },
        certificates: {
          ...common.certificates,
          ca: { kind: "vault", backend: "main", mount: "pki", role: "claviger-node" },
        },
        tokens: { kind: "vault", backend: "main", mount: "kv" },
      };
      fleet = await startFleetService({ processes, dir, pki, settings });
    });
    after(async () => {
      await processes.stopAll();
      await rm(dir, { recursive: true, force: true });
    });

    /** A token of the CLI, in a file, and the options that go with it. */
    const tokenFor = async (name: string, ttl = "1h"): Promise<readonly string[]> => {
      const reason = ["--reason", "a new node", "--ttl", ttl];
      const { status, out, err } = await claviger(["node", "token", name, ...reason, ...(await fleet.options("olga"))]);
      assert.equal(status, 0, err);
      const file = join(dir, `token-${(made += 1)}`);
      writeFileSync(file, out, { mode: 0o600 });
      const pin = /--ca-pin (sha256:[0-9a-f]{64})/.exec(err)?.[1];
      assert.ok(pin !== undefined, err);
      return ["--url", fleet.url, "--token-file", file, "--ca-pin", pin];
    };
    const into = (name: string): string => join(dir, name);
    /** Sets the time until which a token is good to one that is over: the shortest that can be asked for is a minute. */
    const expire = async (file: string): Promise<void> => {
      const hash = createHash("sha256").update(readFileSync(file, "utf8").trim()).digest("hex");
      if (bao === undefined) {
        const stored = join(dir, "fleet", "tokens", `${hash}.json`);
        const record = JSON.parse(readFileSync(stored, "utf8")) as object;
        writeFileSync(stored, JSON.stringify({ ...record, expiresAt: 1 }));
        return;
      }
      const path = `kv/data/node-tokens/${hash}`;
      const { data } = await bao.call<{ data: { data: object } }>("GET", path);
      await bao.call("POST", path, { data: { ...data.data, expiresAt: 1 } });
    };

    test("with the token alone, and a kube-apiserver is served with what it got", async () => {
      const home = into("enrolled");
      const { status, out, err } = await enroll([...(await tokenFor("cluster-1/node-1")), "--dir", home]);
      assert.equal(status, 0, err);
      const pair = join(home, "node.pem");
      assert.equal(statSync(pair).mode & 0o777, 0o600);
      const leaf = new X509Certificate(readFileSync(pair));
      assert.equal(leaf.subjectAltName, "URI:spiffe://lab.claviger.test/cluster/cluster-1/node/node-1");
      assert.match(out, new RegExp(`gateways:\n {2}- ${gateway.url}`));
      const tls = { cert: pair, key: pair, ca: join(home, "ca.pem") };
      const running = await startShim({
        processes,
        dir,
        cluster: "cluster-1",
        node: "node-1",
        pki,
        gateways: [gateway.url],
        extra: { tls, renewal: { url: fleet.url } },
      });
      const checked = await runShim(["--config", running.config, "--check"]);
      assert.match(checked.out, /renewal .*node\.pem can be replaced by the next certificate/);
      const kms = kmsClient(running.socket);
      // Until the gateway has seen a renewed one: calls all the time, none of them fails.
      const records = () =>
        readFileSync(gateway.audit, "utf8")
          .trim()
          .split("\n")
          .map((line) => JSON.parse(line) as { readonly serial?: string; readonly outcome: string });
      const serials = (): ReadonlySet<string> => new Set(records().flatMap(({ serial }) => serial ?? []));
      for (let calls = 0; serials().size < 2; calls += 1) {
        const plaintext = Buffer.from(`seed ${calls}`);
        const sealed = await kms.encrypt(plaintext);
        assert.deepEqual(Buffer.from(await kms.decrypt(sealed)), plaintext);
      }
      kms.close();
      assert.ok(serials().has(leaf.serialNumber));
      assert.notEqual(new X509Certificate(readFileSync(pair)).serialNumber, leaf.serialNumber);
      assert.deepEqual(
        records().filter(({ outcome }) => outcome !== "ok"),
        [],
      );
    });

    test("a token that was used, is of another node, has expired, or is none, is refused with the reason", async () => {
      const used = await tokenFor("cluster-1/node-2");
      assert.equal((await enroll([...used, "--dir", into("first")])).status, 0);
      const again = await enroll([...used, "--dir", into("again")]);
      assert.match(again.err, /the token of cluster-1\/node-2 has been used; if not by this node, revoke/);
      const named = await tokenFor("cluster-1/node-3");
      const other = await enroll([...named, "--name", "cluster-1/node-4", "--dir", into("other")]);
      assert.match(other.err, /the token is for cluster-1\/node-3, not for cluster-1\/node-4/);
      const late = await tokenFor("cluster-1/node-3");
      await expire(late[3] ?? "");
      const expired = await enroll([...late, "--dir", into("expired")]);
      assert.match(
        expired.err,
        /the token of cluster-1\/node-3 has expired; 'claviger node token cluster-1\/node-3' makes/,
      );
      const none = join(dir, "none");
      writeFileSync(none, `clvt_${"A".repeat(43)}`);
      const [, url = "", , , , pin = ""] = await tokenFor("cluster-1/node-3");
      const unknown = await enroll(["--url", url, "--token-file", none, "--ca-pin", pin, "--dir", into("unknown")]);
      assert.match(unknown.err, /there is no such token/);
      for (const { status } of [again, other, expired, unknown]) assert.equal(status, 2);
      for (const name of ["again", "other", "expired", "unknown"]) assert.equal(existsSync(into(name)), false);
    });

    test("an end whose CA has not the pin is told nothing, and the token stays good", async () => {
      const [, url = "", , file = "", , pin = ""] = await tokenFor("cluster-1/node-5");
      const wrong = `sha256:${"0".repeat(64)}`;
      const refused = await enroll(["--url", url, "--token-file", file, "--ca-pin", wrong, "--dir", into("pinned")]);
      assert.equal(refused.status, 2);
      assert.match(refused.err, /the service has no CA with the pin sha256:0+, but sha256:/);
      const good = await enroll(["--url", url, "--token-file", file, "--ca-pin", pin, "--dir", into("pinned")]);
      assert.equal(good.status, 0, good.err);
    });

    test("of ten that use one token at the same time one gets a certificate", async () => {
      const options = await tokenFor("cluster-1/node-6");
      const ended = await Promise.all(
        Array.from({ length: 10 }, (_, i) => enroll([...options, "--dir", into(`race-${i}`)])),
      );
      assert.equal(ended.filter(({ status }) => status === 0).length, 1);
      for (const { status, err } of ended) if (status !== 0) assert.match(err, /has been used/);
    });

    test("tokens, and keys of nodes, stand nowhere but where they belong", async () => {
      const options = await tokenFor("cluster-1/node-7");
      const token = readFileSync(options[3] ?? "", "utf8").trim();
      await enroll([...options, "--dir", into("secret")]);
      const records = readFileSync(fleet.audit, "utf8");
      assert.match(records, /"method":"enrollNode".*"target":"cluster-1\/node-7"/);
      assert.match(records, /"method":"createNodeToken".*"operator":"olga".*"because":"a new node"/);
      const pair = readFileSync(join(into("secret"), "node.pem"), "utf8");
      const key = /-----BEGIN PRIVATE KEY-----\n([^\n]+)/.exec(pair)?.[1] ?? "";
      assert.ok(key.length > 40);
      const log = readFileSync(join(dir, "fleet.log"), "utf8");
      for (const where of [records, log])
        for (const secret of [token, key]) assert.equal(where.includes(secret), false);
    });

    test("the files become the shim's user's", async (t) => {
      if (process.getuid?.() !== 0) return t.skip("giving files away takes root");
      const home = into("owned");
      const options = await tokenFor("cluster-1/node-9");
      const wrong = await enroll([...options, "--dir", home, "--owner", "claviger"]);
      assert.match(wrong.err, /--owner: must be UID:GID, such as 65532:65532/);
      const { status, err } = await enroll([...options, "--dir", home, "--owner", "65532:65533"]);
      assert.equal(status, 0, err);
      for (const file of [home, join(home, "node.pem"), join(home, "ca.pem")]) {
        const { uid, gid } = statSync(file);
        assert.deepEqual([uid, gid], [65_532, 65_533], file);
      }
      assert.equal(statSync(home).mode & 0o777, 0o700);
      return undefined;
    });

    test("a node that is revoked renews nothing, and gets no token", async () => {
      const home = into("revoked");
      assert.equal((await enroll([...(await tokenFor("cluster-1/node-8")), "--dir", home])).status, 0);
      const registry = join(dir, "clusters.yaml");
      writeFileSync(
        registry,
        readFileSync(registry, "utf8").replace("    state:", "    nodes: { revoked: [node-8] }\n    state:"),
      );
      const refused = await claviger([
        "node",
        "token",
        "cluster-1/node-8",
        "--reason",
        "x",
        ...(await fleet.options("olga")),
      ]);
      assert.equal(refused.status, 1);
      assert.match(refused.err, /cluster-1\/node-8 is revoked; 'claviger node allow' takes that back/);
      const pair = readFileSync(join(home, "node.pem"), "utf8");
      const tls = { ca: readFileSync(pki.ca, "utf8"), cert: pair, key: pair };
      const renewal = callFleet(fleet.url, "RenewNode", { certificateRequest: createSigningRequest().request }, tls);
      await assert.rejects(renewal, /failed_precondition.*cluster-1\/node-8 is revoked/);
    });
  });
