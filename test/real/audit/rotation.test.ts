// A real gateway under 500 requests a second whose audit file is rotated in every way that log
// rotations know, which is killed and started again: `claviger audit verify` finds every record, once,
// as it was written and signed by OpenBao.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { copyFile, mkdtemp, readFile, rename, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { formatTable } from "@claviger/proto/runtime/table.ts";
import type { Report } from "@claviger/gateway-core/src/audit/findings.ts";
import * as v2 from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { methods } from "@claviger/proto/wire/protocol.ts";
import { Agent, request } from "undici";
import type { LabGateway } from "../../lab/fleet.ts";
import { type Lab, startLab } from "../../lab/lab.ts";
import { failuresOf, type Load, startLoad } from "../../lab/load.ts";
import { type LabProcess, readyLine, until } from "../../lab/process-group.ts";
import { claviger } from "../cli/claviger.ts";

const perSecond = 500;
const isFull = process.env["CLAVIGER_TEST_FULL"] === "1";
const rounds = isFull ? 20 : 4;

/** Round trips over the gateway's own listener. Each call has a uid, which its record must have. */
async function startGatewayLoad(lab: Lab, gateway: LabGateway) {
  const pair = await lab.pki.node("cluster-1", "node-1");
  const tls = { cert: readFileSync(pair.cert), key: readFileSync(pair.key), ca: readFileSync(lab.pki.ca) };
  const agent = new Agent({ allowH2: false, connections: 32, connect: tls });
  const answered: string[] = [];
  let calls = 0;
  const post = async (path: string, encode: (uid: string) => Uint8Array): Promise<Uint8Array> => {
    const uid = `call-${++calls}`;
    const { statusCode, body } = await request(`${gateway.url}${path}`, {
      method: "POST",
      dispatcher: agent,
      headers: { "content-type": "application/proto" },
      body: encode(uid),
    });
    const bytes = await body.bytes();
    if (statusCode !== 200) throw new Error(`HTTP ${statusCode} ${Buffer.from(bytes).toString()}`);
    answered.push(uid);
    return bytes;
  };
  const load = startLoad({
    perSecond,
    reasonOf: (error) => (error instanceof Error ? error.message : String(error)),
    encrypt: async (plaintext) =>
      fromBinary(
        v2.EncryptResponseSchema,
        await post(methods.encrypt, (uid) =>
          toBinary(v2.EncryptRequestSchema, create(v2.EncryptRequestSchema, { plaintext, uid })),
        ),
      ),
    decrypt: async ({ ciphertext, keyId, annotations }) =>
      fromBinary(
        v2.DecryptResponseSchema,
        await post(methods.decrypt, (uid) =>
          toBinary(v2.DecryptRequestSchema, create(v2.DecryptRequestSchema, { ciphertext, keyId, annotations, uid })),
        ),
      ).plaintext,
  });
  return { load, answered, close: () => agent.destroy() };
}

async function gzip(file: string): Promise<void> {
  const [code] = (await once(spawn("gzip", [file]), "exit")) as [number | null];
  assert.equal(code, 0);
}

suite(`an audit file that is rotated under ${perSecond} requests a second`, () => {
  let dir: string;
  let lab: Lab;
  let gateway: LabGateway;
  let proc: LabProcess;
  let load: Load;
  let answered: readonly string[];
  let close: () => Promise<void>;
  const rows: string[][] = [];
  const start = async (): Promise<void> => {
    ({ load, answered, close } = await startGatewayLoad(lab, gateway));
  };
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    lab = await startLab({ dir, shims: 0, redis: false });
    const [first] = lab.gateways;
    assert.ok(first !== undefined);
    [gateway, proc] = [first, first.proc];
    await start();
  });
  after(async () => {
    await load.stop();
    await close();
    await lab.stop();
    await rm(dir, { recursive: true, force: true });
    console.log(formatTable(["rotation", "times", "answered", "failed", "most in a second"], rows));
  });

  let name = 0;
  const nextName = (): string => `${gateway.audit}.${++name}`;
  /** Waits until so many more calls were answered. */
  const progress = async (calls = perSecond / 2): Promise<void> => {
    const from = answered.length;
    await until(`${calls} more answers`, proc, () => (answered.length >= from + calls ? true : undefined));
  };
  const ways: Readonly<Record<string, () => Promise<void>>> = {
    renamed: async () => {
      await rename(gateway.audit, nextName());
    },
    "renamed and compressed at once": async () => {
      const file = nextName();
      await rename(gateway.audit, file);
      await gzip(file);
    },
    "renamed, an empty one made, SIGHUP, compressed": async () => {
      const file = nextName();
      await rename(gateway.audit, file);
      writeFileSync(gateway.audit, "", { mode: 0o600 });
      proc.child.kill("SIGHUP");
      await gzip(file);
    },
    "read and removed": async () => {
      const file = nextName();
      await rename(gateway.audit, `${file}.gone`);
      writeFileSync(file, await readFile(`${file}.gone`));
      await rm(`${file}.gone`);
    },
    "copied and truncated": async () => {
      await copyFile(gateway.audit, nextName());
      await truncate(gateway.audit);
    },
    "copied, and truncated a second later": async () => {
      await copyFile(gateway.audit, nextName());
      await progress(perSecond);
      await truncate(gateway.audit);
    },
  };
  for (const [what, rotate] of Object.entries(ways))
    test(what, async () => {
      load.take();
      for (let round = 0; round < rounds; round++) {
        await progress();
        await rotate();
      }
      await progress();
      const tally = load.take();
      const seconds = Map.groupBy(tally.successes, (at) => Math.floor(at / 1000));
      const most = Math.max(...[...seconds.values()].map(({ length }) => length));
      rows.push([what, String(rounds), String(tally.ok), String(failuresOf(tally)), String(most)]);
      assert.deepEqual([...tally.failed], []);
    });

  const filesOf = (): readonly string[] =>
    readdirSync(join(gateway.audit, ".."))
      .filter((file) => file.startsWith("audit.jsonl"))
      .map((file) => join(gateway.audit, "..", file));
  const verify = async (): Promise<{ readonly status: number | null; readonly report: Report }> => {
    const { status, out, err } = await claviger(["audit", "verify", ...filesOf(), "--lab", lab.file, "-o", "json"]);
    assert.ok(out !== "", err);
    return { status, report: JSON.parse(out) as Report };
  };

  test("killed under load, with half a line written, and started again", async () => {
    await progress();
    proc.child.kill("SIGKILL");
    await proc.ended;
    await load.stop();
    await close();
    const before = answered;
    appendFileSync(gateway.audit, '{"time":"2026-');
    proc = await lab.processes.restart(proc);
    await readyLine(proc);
    await start();
    await progress();
    await load.stop();
    await close();
    answered = [...before, ...answered];
    await lab.processes.stop(proc);
  });

  test("every record is there, once, as it was written; OpenBao has signed the end", async () => {
    const { status, report } = await verify();
    assert.deepEqual([report.findings, report.unchecked, report.more], [[], [], 0]);
    assert.equal(status, 0);
    assert.equal(report.chains.length, 2);
    for (const { records, first, last, keyed } of report.chains) {
      assert.deepEqual([first, records], [0, last + 1]);
      // A few are written before the key is known.
      assert.ok(keyed > records / 2, `${keyed} of ${records}`);
    }
    const [killed, stopped] = report.chains;
    assert.deepEqual([killed?.isEnded, stopped?.isEnded], [false, true]);
    assert.equal(stopped?.signed?.sequence, stopped?.last === undefined ? undefined : stopped.last - 1);
    assert.ok(report.remarks.some(({ text }) => text === "a record that was not written to its end"));
    console.log(report.remarks.map(({ text }) => `  ${text}`).join("\n"));
  });

  test("and each call that was answered has its record", async () => {
    const { out } = await claviger(["audit", "search", ...filesOf(), "-o", "json", "--cluster", "cluster-1"]);
    const recorded = new Set(
      out
        .trimEnd()
        .split("\n")
        .flatMap((line) => (JSON.parse(line) as { readonly uids?: readonly string[] }).uids ?? []),
    );
    assert.ok(answered.length > (rounds * perSecond) / 2);
    assert.deepEqual(
      answered.filter((uid) => !recorded.has(uid)),
      [],
    );
  });

  test("one character changed in one of the files is found, with file and line", async () => {
    const file = filesOf().find((one) => !one.endsWith(".gz") && one !== gateway.audit) ?? "";
    const lines = readFileSync(file, "utf8").split("\n");
    const at = Math.floor(lines.length / 2);
    writeFileSync(file, lines.with(at, (lines[at] ?? "").replace('"cluster-1"', '"cluster-2"')).join("\n"));
    const { status, report } = await verify();
    assert.deepEqual(
      report.findings.map(({ file: where, line, kind }) => [where, line, kind]),
      [[file, at + 1, "edited"]],
    );
    assert.equal(status, 1);
  });
});
