// `npm run lab` as a user has it: what it writes, what it prints, and that nothing is left when it
// ends, however it ends.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, suite, test } from "node:test";
import { request } from "undici";
import { kmsClient } from "../../lab/kms.ts";
import { startTimeOf } from "../../lab/pid.ts";
import { until } from "../../lab/process-group.ts";
import { claviger } from "../cli/claviger.ts";

type Process = { readonly pid: number; readonly argv: readonly string[] };
type LabJson = {
  readonly shims: readonly (Process & {
    readonly cluster: string;
    readonly node: string;
    readonly socket: string;
    readonly metrics: string;
  })[];
  readonly gateways: readonly (Process & { readonly url: string; readonly metrics: string; readonly config: string })[];
  readonly vault: (Process & { readonly addr: string; readonly tokenFile: string; readonly auditLog: string }) | null;
  readonly redis: (Process & { readonly url: string }) | null;
  readonly fleet: Process & { readonly url: string; readonly metrics: string; readonly contexts: string };
  readonly kubernetes: readonly (Process & {
    readonly server: string;
    readonly tokenFile: string;
    readonly caFile: string;
    readonly etcd: string;
  })[];
  readonly etcd: Process | null;
  readonly pki: { readonly ca: string; readonly operatorCert: string; readonly operatorKey: string };
  readonly registry: string;
  readonly audit: readonly string[];
};

const dir = mkdtempSync(join(tmpdir(), "claviger-"));
const labDir = join(dir, "lab");
const running = new Set<ChildProcess>();
after(() => {
  for (const child of running) child.kill("SIGKILL");
  rmSync(dir, { recursive: true, force: true });
});

function start(...args: readonly string[]): ChildProcess {
  const program = join(import.meta.dirname, "../../run/lab.ts");
  const child = spawn(process.execPath, [program, "--dir", labDir, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  running.add(child);
  child.once("close", () => running.delete(child));
  return child;
}

/** Waits for the line that says so, and reads the file that it names. */
async function ready(child: ChildProcess): Promise<LabJson> {
  assert.ok(child.stdout !== null);
  for await (const line of createInterface({ input: child.stdout })) {
    const file = /^lab ready (.+)$/.exec(line)?.[1];
    if (file === undefined) continue;
    assert.equal(file, join(labDir, "lab.json"));
    return JSON.parse(readFileSync(file, "utf8")) as LabJson;
  }
  throw new Error("the lab ended before it was ready");
}

async function ended(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  return child.exitCode;
}

function processesOf(lab: LabJson): readonly Process[] {
  return [...lab.shims, ...lab.gateways, lab.vault, lab.redis, lab.fleet, ...lab.kubernetes, lab.etcd].filter(
    (one) => one !== null,
  );
}
function alive(lab: LabJson): readonly string[] {
  return processesOf(lab)
    .filter(({ pid }) => startTimeOf(pid) !== undefined)
    .map(({ argv }) => argv.join(" "));
}

/** The command lines of all processes that name this path. */
function processesNaming(path: string): readonly string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return [readFileSync(join("/proc", pid, "cmdline"), "utf8").replaceAll("\0", " ")];
      } catch {
        return [];
      }
    })
    .filter((line) => line.includes(path));
}

suite("npm run lab", () => {
  test("with every part: lab.json names what runs, shims go to the clusters in turn, SIGTERM leaves nothing", async () => {
    const child = start("--gateways", "2", "--shims", "3", "--clusters", "2", "--kubernetes");
    const lab = await ready(child);
    assert.deepEqual(
      lab.shims.map(({ cluster, node }) => `${cluster}/${node}`),
      ["cluster-1/node-1", "cluster-2/node-2", "cluster-1/node-3"],
    );
    assert.equal(lab.gateways.length, 2);
    assert.equal(lab.kubernetes.length, 2, "one for each shim of cluster-1");
    assert.equal(alive(lab).length, processesOf(lab).length);
    assert.equal(processesOf(lab).length, 3 + 2 + 1 + 1 + 1 + 2 + 1);
    for (const { argv } of processesOf(lab)) assert.ok(argv.length > 1, argv.join(" "));

    for (const { metrics } of [...lab.shims, ...lab.gateways, lab.fleet])
      assert.match(await (await request(metrics)).body.text(), /claviger_/);
    for (const { socket } of lab.shims) {
      const kms = kmsClient(socket);
      assert.equal((await kms.status()).healthz, "ok");
      kms.close();
    }
    const { vault } = lab;
    assert.ok(vault !== null && lab.redis !== null);
    const secrets = [
      vault.tokenFile,
      lab.pki.operatorKey,
      lab.fleet.contexts,
      ...lab.kubernetes.map(({ tokenFile }) => tokenFile),
      join(labDir, "lab.json"),
    ];
    for (const file of secrets) assert.equal(statSync(file).mode & 0o777, 0o600, file);
    for (const file of [
      vault.auditLog,
      lab.registry,
      lab.pki.ca,
      lab.pki.operatorCert,
      ...lab.audit,
      ...lab.kubernetes.map(({ caFile }) => caFile),
    ])
      assert.ok(statSync(file).size > 0, file);

    // The operator's context reaches the fleet service.
    const asked = ["node", "token", "cluster-1/node-9", "--reason", "a test", "--config", lab.fleet.contexts];
    const token = await claviger(asked);
    assert.match(token.out, /^clvt_/, token.err);

    child.kill("SIGTERM");
    assert.equal(await ended(child), 0);
    assert.deepEqual(alive(lab), []);
  });

  test("in the same folder again: refused while it runs, and killed outright it leaves nothing either", async () => {
    const child = start("--backend", "embedded", "--no-redis");
    const lab = await ready(child);
    assert.equal(lab.vault, null);
    assert.equal(lab.redis, null);
    const second = start("--backend", "embedded");
    assert.equal(await ended(second), 1);
    assert.equal(alive(lab).length, 3, "the second did not touch the first");
    child.kill("SIGKILL");
    await until("its processes to end", undefined, () => (alive(lab).length === 0 ? true : undefined), 5000);
  });

  test("a signal while it starts ends it, with all that it had started", async () => {
    const child = start("--kubernetes");
    assert.ok(child.stderr !== null);
    for await (const line of createInterface({ input: child.stderr })) if (line.includes("starting gateways")) break;
    child.kill("SIGINT");
    assert.equal(await ended(child), 130);
    assert.deepEqual(processesNaming(labDir), []);
  });
});
