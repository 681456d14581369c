// A gateway whose standard output and standard error nobody reads for a while: audit records go to
// one, the log to the other.
import assert from "node:assert/strict";
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { test, type TestContext } from "node:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { BatchRequestSchema } from "@claviger/proto/gen/claviger/relay_pb.ts";
import * as v2 from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { headers, methods } from "@claviger/proto/wire/protocol.ts";
import { Agent, request } from "undici";
import { parse, stringify } from "yaml";
import { createPki, writeGatewayConfig, writeRegistry } from "../../lab/fleet.ts";
import { createProcessGroup, until } from "../../lab/process-group.ts";

const main = join(import.meta.dirname, "..", "..", "..", "gateway", "server", "src", "main.ts");

type Line = {
  readonly event?: string;
  readonly listen?: string;
  readonly admin?: string;
  readonly method?: string;
  readonly sequence?: number;
  readonly count?: number;
};

/** The lines of a stream, read while it flows. */
function linesOf(stream: Readable) {
  const lines: Line[] = [];
  let rest = "";
  stream.on("data", (chunk: Buffer) => {
    const parts = (rest + chunk.toString()).split("\n");
    rest = parts.pop() ?? "";
    for (const part of parts) lines.push(JSON.parse(part) as Line);
  });
  return lines;
}

/** A gateway with an embedded backend whose output is read here, or not. */
async function start(t: TestContext, sinks: (file: string) => readonly object[]) {
  const dir = await mkdtemp(join(tmpdir(), "claviger-"));
  mkdirSync(join(dir, "gateway"), { recursive: true });
  const processes = createProcessGroup(dir);
  const pki = await createPki(dir);
  const registry = writeRegistry(dir, [{ name: "cluster-1", key: "cluster-1" }]);
  const { clusters } = parse(readFileSync(registry, "utf8")) as { clusters: readonly object[] };
  const limits = { requestsPerSecond: 1_000_000 };
  writeFileSync(registry, stringify({ clusters: clusters.map((record) => ({ ...record, limits })) }));
  const audit = join(dir, "gateway", "records.jsonl");
  const extra = { audit: { sinks: sinks(audit) }, log: { level: "debug" } };
  const { config } = await writeGatewayConfig({ processes, dir, name: "gateway", pki, registry, extra });
  const child: ChildProcessByStdio<null, Readable, Readable> = spawn(process.execPath, [main, "--config", config], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exited = once(child, "exit") as Promise<[number | null]>;
  t.after(async () => {
    child.kill("SIGKILL");
    await processes.stopAll();
    await rm(dir, { recursive: true, force: true });
  });
  const log = linesOf(child.stderr);
  const ready = await until("the gateway", undefined, () => log.find(({ event }) => event === "ready"));
  child.stderr.pause();
  const pair = await pki.node("cluster-1", "node-1");
  const tls = { cert: readFileSync(pair.cert), key: readFileSync(pair.key), ca: readFileSync(pki.ca) };
  const agent = new Agent({ allowH2: false, connections: 8, connect: tls });
  t.after(() => agent.destroy());
  const admin = async (path: string): Promise<string> => await (await request(`${ready.admin}${path}`)).body.text();
  const post = async (path: string, body: Uint8Array) => {
    const {
      statusCode,
      headers: given,
      body: reply,
    } = await request(`${ready.listen}${path}`, {
      method: "POST",
      dispatcher: agent,
      headers: { "content-type": "application/proto" },
      body,
    });
    await reply.dump();
    return { status: statusCode, reason: given[headers.reason] };
  };
  return { child, exited, audit, log, admin, post };
}

/** A batch whose record has 64 uids of 64 characters: about 17 KiB. */
const wordy = toBinary(
  BatchRequestSchema,
  create(BatchRequestSchema, {
    requests: Array.from({ length: 64 }, (_, i) =>
      toBinary(
        v2.DecryptRequestSchema,
        create(v2.DecryptRequestSchema, {
          ciphertext: Buffer.from("none"),
          keyId: "k",
          uid: String(i).padEnd(64, "u"),
        }),
      ),
    ),
  }),
);

function residentBytes(pid: number | undefined): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
}

test("records and a log that nobody reads cost no call and bounded memory, and come again with their gap named", async (t) => {
  const sinks = (path: string) => [{ kind: "file", path }, { kind: "stdout" }];
  const { child, exited, audit, log, admin, post } = await start(t, sinks);
  const missed = async (): Promise<number> =>
    Number(
      /^claviger_gateway_audit_records_missed_total\{sink="stdout"[^}]*\} (\S+)/m.exec(await admin("/metrics"))?.[1],
    );
  await post(methods.decryptBatch, wordy);
  const before = residentBytes(child.pid);
  let slowest = 0;
  let late = 0;
  let asked = 1;
  // Twice what the queue of a sink holds, and as much of the log.
  const ask = async (): Promise<void> => {
    for (let i = 0; i < 125; i++) {
      const began = performance.now();
      const { status, reason } = await post(methods.decryptBatch, wordy);
      const ms = performance.now() - began;
      slowest = Math.max(slowest, ms);
      if (ms > 900) late += 1;
      assert.equal(status, 200, String(reason));
      // Each of these is a line of the log.
      for (let n = 0; n < 3; n++) assert.equal((await post("/nothing", Buffer.alloc(0))).reason, "method_unknown");
      asked += 4;
    }
  };
  await Promise.all(Array.from({ length: 8 }, ask));
  const grown = residentBytes(child.pid) - before;
  console.log(
    `${asked} requests, the slowest ${slowest.toFixed(0)} ms; ${(grown / 2 ** 20).toFixed(0)} MiB more memory`,
  );
  assert.ok(late < 10, `${late} calls waited for a sink's deadline`);
  assert.ok(grown < 128 * 2 ** 20);
  const count = await missed();
  assert.ok(count > 0, "the queue is full");
  assert.match(await admin("/readyz"), /"audit\/stdout":"[^"]*(?:no record for|is full)/);

  const records = linesOf(child.stdout);
  child.stderr.resume();
  const gap = await until("the gap to be named", undefined, () => records.find(({ method }) => method === "audit"));
  assert.equal(gap.count, count);
  await until("the sink to be well", undefined, async () =>
    (await admin("/readyz")).includes('"audit/stdout":"ok"') ? true : undefined,
  );
  await post("/nothing", Buffer.alloc(0));
  await until("the dropped lines to be named", undefined, () => log.find(({ event }) => event === "log-lines-dropped"));
  // The start of the chain, those that were asked for, the one after them, and the one that names the gap.
  const kept = readFileSync(audit, "utf8").trimEnd().split("\n").length;
  assert.equal(kept, asked + 3, "the other sink has them all");
  await until("the newest record", undefined, () => (records.at(-1)?.sequence === kept - 1 ? true : undefined));
  assert.equal(records.length, kept - count, "and this one all but those");

  child.stdout.pause();
  child.stderr.pause();
  await Promise.all(Array.from({ length: 8 }, ask));
  child.kill("SIGTERM");
  assert.deepEqual((await exited)[0], 0, "it ends when it is told to, whoever reads");
});

test("where nobody reads the only records, results are withheld in time, and are given again later", async (t) => {
  const { child, admin, post } = await start(t, () => [{ kind: "stdout" }]);
  let refused: Awaited<ReturnType<typeof post>> | undefined;
  for (let i = 0; refused === undefined && i < 1000; i++) {
    const began = performance.now();
    const reply = await post(methods.decryptBatch, wordy);
    if (reply.status === 200) continue;
    refused = reply;
    assert.ok(performance.now() - began < 3000);
  }
  assert.equal(refused?.reason, "audit_unavailable");
  assert.match(await admin("/readyz"), /no sink takes records/);
  const records = linesOf(child.stdout);
  await until("the sink to be well", undefined, async () =>
    (await admin("/readyz")).includes('"audit":"ok"') ? true : undefined,
  );
  assert.equal((await post(methods.status, Buffer.alloc(0))).status, 200);
  await until("its record", undefined, () => records.find(({ method }) => method === "status"));
});
