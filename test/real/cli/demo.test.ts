import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, describe, test } from "node:test";
import { type OpenBao, startOpenBao } from "../../lab/openbao.ts";
import { createProcessGroup, type ProcessGroup } from "../../lab/process-group.ts";
import { claviger } from "./claviger.ts";

const demo = join(import.meta.dirname, "..", "..", "run", "demo.ts");

describe("the demo", () => {
  let dir: string;
  before(() => {
    dir = mkdtempSync(join(tmpdir(), "claviger-demo-test-"));
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  /** In a temporary directory of its own, so that what it leaves behind can be seen. */
  const start = (args: readonly string[], env: NodeJS.ProcessEnv = {}) =>
    spawn(process.execPath, [demo, ...args], {
      env: { PATH: process.env["PATH"], HOME: dir, TMPDIR: dir, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
  const run = async (
    env: NodeJS.ProcessEnv = {},
  ): Promise<{ readonly status: unknown; readonly out: string; readonly err: string }> => {
    const child = start(["--exit"], env);
    const closed = once(child, "close");
    const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
    const [status] = (await closed) as unknown[];
    return { status, out, err };
  };

  /** Resolves when it has printed that; goes on reading. */
  const reading = (child: ReturnType<typeof start>, wanted: string): Promise<void> => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let out = "";
    child.stdout.on("data", (chunk) => {
      out += String(chunk);
      if (out.includes(wanted)) resolve();
    });
    child.once("close", () => reject(new Error(`it ended first:\n${out}`)));
    return promise;
  };

  const steps = [
    /\$ npx claviger node token orchard\/cp-1 --reason 'a new control-plane node' --config \S+ > \S+token/,
    /\$ claviger-shim enroll --url https:\/\/127\.0\.0\.1:\d+ --token-file \S+ --ca-pin sha256:[0-9a-f]{64} /,
    /certificate +URI:spiffe:\/\/demo\.example\/cluster\/orchard\/node\/cp-1, until /,
    /Status +healthz ok, key_id clv1\./,
    /etcd value +k8s:enc:kms:v2:/,
    /read database +1 Decrypt/,
    /key_id changed after \d+ ms/,
    /refused +HTTP 400, invalid_argument/,
    /refused +in the TLS handshake/,
    /PERMISSION_DENIED: claviger: this cluster is suspended/,
    /healthz ok again/,
    /records +\d+, of them \d+ not ok/,
    /the console +npx claviger console --config\s+\S+operator\.yaml/,
    /ready unix:\/\/.*kms\.sock/,
  ] as const;

  test("shows every step on the embedded backend, ends with 0 and leaves nothing behind", async () => {
    const { status, out, err } = await run();
    assert.equal(status, 0, out + err);
    for (const step of steps) assert.match(out, step);
    assert.doesNotMatch(out + err, /clvt_/, "a token on the terminal");
    assert.equal(out.includes("\u001b["), false, "colour without a terminal");
    assert.deepEqual(readdirSync(dir), []);
  });

  test("serves after ready, where check finds nothing wrong, and SIGTERM ends everything", async () => {
    const socket = join(dir, "own.sock");
    const child = start(["--socket", socket]);
    const closed = once(child, "close");
    await reading(child, `ready unix://${socket}\n`);
    const check = await claviger(["check", "--socket", socket, "--json"]);
    const report = JSON.parse(check.out) as { ok: boolean; steps: { name: string }[] };
    assert.deepEqual([check.status, report.ok, report.steps.length], [0, true, 4]);
    child.kill("SIGTERM");
    assert.deepEqual(await closed, [0, null]);
    assert.equal(existsSync(socket), false);
    assert.deepEqual(readdirSync(dir), []);
    const gone = await claviger(["check", "--socket", socket]);
    assert.deepEqual([gone.status, /no socket at/.test(gone.out)], [1, true]);
  });

  test("a signal in the middle of the steps ends everything too", async () => {
    const child = start([]);
    const closed = once(child, "close");
    await reading(child, "gateway");
    child.kill("SIGINT");
    assert.deepEqual(await closed, [0, null]);
    assert.deepEqual(readdirSync(dir), []);
  });

  test("a reader that goes away ends everything as well", async () => {
    const child = start([]);
    const closed = once(child, "exit");
    await reading(child, "gateway");
    child.stdout.destroy();
    await closed;
    assert.deepEqual(readdirSync(dir), []);
  });

  test("says what is missing when VAULT_ADDR is set without a token, or nobody is there", async () => {
    const lacking = await run({ VAULT_ADDR: "http://127.0.0.1:9" });
    assert.deepEqual([lacking.status, /VAULT_TOKEN is not/.test(lacking.err)], [1, true]);
    const away = await run({ VAULT_ADDR: "http://127.0.0.1:9", VAULT_TOKEN: "x" });
    assert.deepEqual([away.status, /ECONNREFUSED/.test(away.err)], [1, true]);
  });

  describe("on a real OpenBao", () => {
    let processes: ProcessGroup;
    let bao: OpenBao;
    let baoDir: string;
    before(async () => {
      baoDir = mkdtempSync(join(tmpdir(), "claviger-demo-bao-"));
      processes = createProcessGroup(baoDir);
      bao = await startOpenBao(processes, baoDir);
    });
    after(async () => {
      await processes.stopAll();
      rmSync(baoDir, { recursive: true, force: true });
    });

    test("shows every step twice, says what it made there, and takes its token back", async () => {
      const token = readFileSync(bao.tokenFile, "utf8");
      const first = await run({ VAULT_ADDR: bao.addr, VAULT_TOKEN: token });
      assert.equal(first.status, 0, first.out + first.err);
      for (const step of steps) assert.match(first.out, step);
      assert.match(first.out, /made the Transit mount claviger-demo/);
      assert.match(first.out, /to remove +vault secrets disable claviger-demo/);
      assert.ok(!`${first.out}${first.err}`.includes(token));
      const second = await run({ VAULT_ADDR: bao.addr, VAULT_TOKEN: token });
      assert.equal(second.status, 0, second.out + second.err);
      assert.match(second.out, /found the key claviger-demo\/keys\/fleet/);
      const { data } = await bao.call<{ data: { keys: string[] } }>("LIST", "auth/token/accessors");
      assert.equal(data.keys.length, 1, "only the root token is left");
      assert.deepEqual(readdirSync(dir), []);
    });
  });
});
