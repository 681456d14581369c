// The watch over a service that is fuzzed finds what it is there to find.
import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { fuzzService, type Running } from "../../fuzz/services/service.ts";
import type { LabProcess } from "../../lab/process-group.ts";

const secret = "a-secret-of-the-service";

type Fake = {
  readonly running: Running;
  readonly log: string;
  readonly audit: string;
  page: string;
  exitCode: number | null;
};

/** A service that is this process: it says what a test has it say. */
async function start(t: TestContext, change: Partial<Running> = {}): Promise<Fake> {
  const dir = mkdtempSync(join(tmpdir(), "claviger-watch-"));
  const [log, audit] = [join(dir, "log"), join(dir, "audit")];
  for (const file of [log, audit]) writeFileSync(file, "started\n");
  const server = createServer((_, response) => response.end(fake.page)).listen(0, "127.0.0.1");
  await new Promise((resolve) => void server.once("listening", resolve));
  t.after(() => {
    server.close();
    rmSync(dir, { recursive: true });
  });
  const child = {
    get exitCode() {
      return fake.exitCode;
    },
    signalCode: null,
  };
  const proc = { name: "fake", log, pid: process.pid, child } as unknown as LabProcess;
  const metrics = `http://127.0.0.1:${(server.address() as AddressInfo).port}/metrics`;
  const running: Running = {
    inputs: [Buffer.from("x")],
    send: () => Promise.resolve("ok"),
    honest: () => Promise.resolve({ status: 1 }),
    watched: [{ proc, metrics, mostMiB: 4096 }],
    secrets: () => [secret],
    audit: { file: audit, secrets: () => [secret] },
    stop: () => Promise.resolve(),
    ...change,
  };
  const fake: Fake = { running, log, audit, page: "", exitCode: null };
  return fake;
}

async function findingsOf({ running }: Fake, cases = 300): Promise<string> {
  return (await fuzzService(running, { cases, seed: 1 })).findings.join("\n");
}

test("a service that is well gives no finding, and each input is counted", async (t) => {
  const { running } = await start(t);
  const report = await fuzzService(running, { cases: 300, seed: 1 });
  assert.deepEqual(report.findings, []);
  assert.deepEqual([...report.ends], [["ok", 300]]);
  assert.equal(report.honestMs.length, 3, "before, and after each round");
  assert.ok((report.memory.get("fake") ?? 0) > 0);
});

test("a secret is found in the log, the audit records and the metrics, however it is written", async (t) => {
  for (const spelling of [secret, Buffer.from(secret).toString("base64"), Buffer.from(secret).toString("hex")]) {
    const inLog = await start(t);
    appendFileSync(inLog.log, `${"x".repeat(10_000)}${spelling}\n`);
    assert.match(await findingsOf(inLog), /log has a secret/);
    const inAudit = await start(t);
    appendFileSync(inAudit.audit, spelling);
    assert.match(await findingsOf(inAudit), /audit has a secret/);
    const inMetrics = await start(t);
    inMetrics.page = `x{y="${spelling}"} 1`;
    assert.match(await findingsOf(inMetrics), /the metrics of fake has a secret/);
  }
});

test("a secret that is said in the middle of a run is found, and ends it", async (t) => {
  let sent = 0;
  const fake = await start(t, {
    send: () => {
      if ((sent += 1) === 250) appendFileSync(fake.log, secret);
      return Promise.resolve("ok");
    },
  });
  assert.match(await findingsOf(fake, 2000), /^after 400 cases of seed 1: .*log has a secret$/);
  assert.equal(sent, 400);
});

test("an end of the process, memory, an internal error, and honest calls that fail or are slow are found", async (t) => {
  const ended = await start(t);
  ended.exitCode = 1;
  assert.match(await findingsOf(ended), /fake has ended/);
  const { running } = await start(t);
  const [watched] = running.watched;
  assert.ok(watched !== undefined);
  const large = await start(t, { watched: [{ ...watched, mostMiB: 1 }] });
  assert.match(await findingsOf(large), /more than 1/);
  const internal = await start(t);
  appendFileSync(internal.log, '{"event":"internal-error"}\n');
  assert.match(await findingsOf(internal), /internal-error/);
  const failing = await start(t, { honest: () => Promise.reject(new Error("no")) });
  assert.match(await findingsOf(failing), /an honest call failed: Error: no/);
  const slow = await start(t, { honest: () => Promise.resolve({ encrypt: 1001 }) });
  assert.match(await findingsOf(slow), /an honest encrypt took 1001 ms/);
});

test("an answer that is a finding is told with its input", async (t) => {
  const { running } = await start(t, { send: () => Promise.reject(new Error("500")) });
  const inputs: Buffer[] = [];
  const { findings } = await fuzzService(running, { cases: 8, seed: 1, onFinding: (input) => inputs.push(input) });
  assert.equal(findings.length, 8);
  assert.deepEqual(inputs[0], Buffer.from("x"), "the corpus comes first");
});
