// `claviger audit`: files of records in any order, compressed or not, verified with the operator's own
// right to the integrity key, and searched.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, renameSync, writeFileSync, rmSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, beforeEach, suite, test } from "node:test";
import { gzipSync } from "node:zlib";
import { runCli } from "@claviger/cli/src/run.ts";
import { openAuditLog } from "@claviger/gateway-core/src/audit/log.ts";
import { createFileSink } from "@claviger/gateway-core/src/audit/file-sink.ts";
import type { AuditEntry } from "@claviger/gateway-core/src/audit/record.ts";
import { openBackend } from "@claviger/gateway-core/src/backend/open.ts";
import { createAuditKey } from "@claviger/gateway-core/src/key/audit-key.ts";
import { integrityKey, type IntegrityConfig } from "@claviger/gateway-core/src/key/integrity.ts";
import { backendName, keyName, mountPath } from "@claviger/proto/wire/names.ts";
import { silent } from "../fakes.ts";
import { entry, processLines } from "../core/audit/records.ts";

const integrity: IntegrityConfig = {
  backend: backendName.parse("main"),
  mount: mountPath.parse("transit"),
  key: keyName.parse("integrity"),
  version: 1,
};

let dir: string;
let config: string;
let n = 0;
let path: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), "claviger-cli-audit-"));
  config = join(dir, "gateway.yaml");
  await writeFile(
    config,
    `listen: { address: 127.0.0.1, port: 0 }
admin: { address: 127.0.0.1, port: 0 }
tls: { cert: c, key: k, clientCa: a }
trustDomain: fleet.example
registry: { kind: file, file: clusters.yaml }
backends: { main: { kind: embedded, file: ${JSON.stringify(join(dir, "keys.json"))} } }
integrity: { backend: main, mount: transit, key: integrity, version: 1 }
audit: { sinks: [{ kind: stdout }] }
`,
  );
});
after(() => rm(dir, { recursive: true, force: true }));
beforeEach(() => {
  path = join(dir, `audit-${++n}.jsonl`);
});

type Result = { readonly status: number; readonly out: string; readonly err: string };

async function run(...args: readonly string[]): Promise<Result> {
  const [out, err]: [string[], string[]] = [[], []];
  const terminal = { out: (line: string) => out.push(line), err: (line: string) => err.push(line), env: {}, home: dir };
  const status = await runCli(["audit", ...args], terminal);
  return { status, out: out.join("\n"), err: err.join("\n") };
}

/** What a gateway writes, with a real backend's key. */
async function writeRecords(records: readonly AuditEntry[]): Promise<void> {
  const backend = await openBackend({
    name: integrity.backend,
    config: { kind: "embedded", file: join(dir, "keys.json") },
    log: silent,
  });
  const secret = await integrityKey(backend, integrity, AbortSignal.timeout(5000));
  const signer = createAuditKey(backend, integrity, () => secret);
  const sinks = [createFileSink({ path, fsync: false })];
  const audit = await openAuditLog({ sinks, required: true, log: silent, replica: "gateway-1", signer });
  for (const record of records) await audit.record(record);
  await audit.close();
  await backend.close();
}

const entries = Array.from({ length: 10 }, (_, i) => entry(i));

suite("claviger audit verify", () => {
  test("records of a gateway that was restarted, with its key: status 0", async () => {
    await writeRecords(entries);
    await writeRecords(entries);
    const { status, out } = await run("verify", path, "--config", config);
    assert.match(out, /24 records: as they were written$/);
    assert.equal(out.match(/ of gateway-1: 12 records, .* ended; signed up to record 10, at /g)?.length, 2);
    assert.equal(status, 0);
  });

  test("without Vault: status 3, and what was not checked", async () => {
    await writeRecords(entries);
    for (const args of [[], ["--config", config, "--offline"]]) {
      const { status, out } = await run("verify", path, ...args);
      assert.match(out, /not checked: chain [0-9a-f-]+: the MACs of 12 records and 1 signed heads, without/);
      assert.match(out, /12 records: no sign of tampering, but not everything could be checked$/);
      assert.equal(status, 3);
    }
  });

  test("rotated files in any order, compressed or not; a finding names file and line: status 1", async () => {
    const first = processLines(10, 0, { hasEnd: false }).lines;
    const files = [`${path}.2.gz`, `${path}.1`, path] as const;
    writeFileSync(files[0], gzipSync(`${first.slice(0, 4).join("\n")}\n`));
    writeFileSync(files[1], `${first.slice(4, 8).join("\n")}\n`);
    writeFileSync(files[2], `${first.slice(8).join("\n")}\n`);
    const good = await run("verify", files[2], files[1], files[0]);
    assert.equal(good.status, 3, good.out);
    writeFileSync(files[1], `${first.slice(5, 8).join("\n")}\n`);
    const { status, out } = await run("verify", files[2], files[1], files[0]);
    assert.ok(out.startsWith(`${files[1]}:1: removed: record 4 of chain `), out);
    assert.match(out, /TAMPERED WITH, in 1 place$/);
    assert.equal(status, 1);
    const json = JSON.parse((await run("verify", ...files, "-o", "json")).out) as {
      readonly findings: readonly { readonly kind: string; readonly line: number }[];
    };
    assert.deepEqual(
      json.findings.map(({ kind, line }) => [kind, line]),
      [["removed", 1]],
    );
  });

  test("files that begin with what stands in the ones before, as copytruncate makes them, are put in order by their ends", async () => {
    const { lines } = processLines(30, 0);
    const files = [`${path}.2`, `${path}.1`, path] as const;
    writeFileSync(files[0], `${lines.slice(0, 12).join("\n")}\n`);
    writeFileSync(files[1], gzipSync(`${lines.slice(5, 20).join("\n")}\n`));
    writeFileSync(files[2], `${lines.slice(1).join("\n")}\n`);
    const { status, out } = await run("verify", ...files.toReversed());
    assert.equal(status, 3, out);
    assert.ok(out.includes(`${files[1]}:1: note: records 5 to 11 stand at the end`), out);
    assert.ok(out.includes(`${files[2]}:1: note: records 1 to 19 stand at the end`), out);
    const found = await run("search", ...files, "-o", "json");
    assert.deepEqual(found.out.split("\n"), lines, "and each record is found once");
  });

  test("a compressed file that ends early or whose data is wrong is a finding", async () => {
    const bytes = gzipSync(`${processLines(2000, 0).lines.join("\n")}\n`);
    const half = Math.floor(bytes.length / 2);
    writeFileSync(path, bytes.subarray(0, half));
    const short = await run("verify", path);
    assert.match(short.out, /truncated: is compressed and ends in the middle/);
    assert.equal(short.status, 1);
    bytes.fill(0xff, half, half + 50);
    writeFileSync(path, bytes);
    const wrong = await run("verify", path);
    assert.match(wrong.out, /truncated: is compressed, and its data is wrong from here on/);
    assert.equal(wrong.status, 1);
  });

  test("a file that is not there or named twice is status 1 with one line", async () => {
    assert.deepEqual(await run("verify", "/nowhere"), {
      status: 1,
      out: "",
      err: "claviger: /nowhere cannot be read (ENOENT: there is no such file or directory)",
    });
    assert.match((await run("verify", path, path)).err, /is named twice$/);
  });

  test("a hundred thousand records take seconds", async () => {
    writeFileSync(path, `${processLines(100_000, 0, { isKeyed: true }).lines.join("\n")}\n`);
    const from = performance.now();
    const { status, out } = await run("verify", path);
    assert.equal(status, 3);
    assert.match(out, /^100003 records: no sign/m);
    assert.ok(performance.now() - from < 20_000, `${performance.now() - from} ms`);
  });
});

suite("claviger audit search and tail", () => {
  const call = (uid: string, more: object) => ({ uid, outcome: "ok", keyId: "key-1", ...more }) as const;
  const records: readonly AuditEntry[] = [
    entry(0, { method: "status", node: "node-1", keyId: "key-1", serial: "0AFF" }),
    entry(60, { cluster: "test", node: "node-2", outcome: "denied", reason: "cluster_suspended" }),
    entry(120, {
      method: "decryptBatch",
      calls: [call("a", {}), call("b", { outcome: "invalid", reason: "ciphertext_invalid", keyId: "key-2" })],
    }),
    entry(180, { names: "\u001b[2J" }),
  ];
  const search = async (...args: readonly string[]): Promise<readonly number[]> => {
    const { out } = await run("search", path, "-o", "json", ...args);
    return out
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => (JSON.parse(line) as { readonly sequence: number }).sequence);
  };
  beforeEach(() => writeRecords(records));

  test("finds by each option, and a batch by one of its calls", async () => {
    const table: readonly (readonly [string, readonly number[]])[] = [
      ["--cluster test", [2]],
      ["--node node-1", [1]],
      ["--outcome denied", [2]],
      ["--reason ciphertext_invalid", [3]],
      ["--key-id key-1", [1, 3]],
      ["--key-id key-2 --outcome invalid", [3]],
      ["--key-id key-1 --outcome invalid", []],
      ["--serial 0a:ff", [1]],
      ["--since 2026-01-01T00:01:00Z --until 2026-01-01T00:02:00Z", [2, 3]],
      // The start and the end of the chain are of now.
      ["--since 1h", [0, 5]],
      ["--until 2026-01-01T00:00:30+00:00", [1]],
    ];
    for (const [args, found] of table) assert.deepEqual(await search(...args.split(" ")), found, args);
  });

  test("finds what the control plane did, by who asked or approved, and by what it is about", async () => {
    const own = { at: Date.UTC(2026, 0, 1), milliseconds: 1, outcome: "ok" } as const;
    rmSync(path);
    await writeRecords([
      { ...own, method: "revokeNode", operator: "ada", target: "prod/node-1" },
      { ...own, method: "approveChange", operator: "anna", requestedBy: "ada", target: "prod,test" },
      { ...own, method: "createNodeToken", operator: "anna", target: "test/node-2" },
    ]);
    const table: readonly (readonly [string, readonly number[]])[] = [
      ["--operator ada", [1, 2]],
      ["--operator anna", [2, 3]],
      ["--cluster test", [2, 3]],
      ["--cluster prod --node node-1", [1]],
      ["--method approveChange", [2]],
      ["--method approveChange --operator olga", []],
    ];
    for (const [args, found] of table) assert.deepEqual(await search(...args.split(" ")), found, args);
    assert.match((await run("search", path, "--node", "node-2")).out, /createNodeToken +test\/node-2 +anna +ok/);
  });

  test("nothing found is status 1; a time that is none is status 2", async () => {
    assert.deepEqual(await run("search", path, "--cluster", "none"), {
      status: 1,
      out: "",
      err: "claviger: no such record",
    });
    assert.equal((await run("search", path, "--since", "yesterday")).status, 2);
  });

  test("the table has a row for each, says how many calls a batch had, and obeys nothing that stands in a record", async () => {
    const { out } = await run("search", path, "--until", "2026-01-02");
    const rows = out.split("\n");
    assert.match(rows[0] ?? "", /^TIME +METHOD +CLUSTER +NODE +OUTCOME +REASON +KEY_ID +MS$/);
    assert.match(rows[3] ?? "", /^2026-01-01T00:02:00.000Z +decryptBatch×2 +prod +- +ok +- +key-1 +1$/);
    writeFileSync(path, processLines(1, 0).lines[1]?.replace('"prod"', '"\\u001b[2J"') ?? "");
    assert.match((await run("search", path)).out, / \?\[2J /);
  });

  test("tail prints the newest, and says which lines are no records", async () => {
    appendFileSync(path, "nonsense\n");
    const { out, err } = await run("tail", path, "-n", "2", "--until", "2026-01-02");
    const [head, ...rows] = out.split("\n");
    assert.match(head ?? "", /^TIME /);
    assert.deepEqual(
      rows.map((row) => row.slice(0, 19)),
      ["2026-01-01T00:02:00", "2026-01-01T00:03:00"],
    );
    assert.equal(err, `${path}: 1 line is no record`);
  });

  test("tail --follow goes on across a rotation", async () => {
    const main = join(import.meta.dirname, "../../../../gateway/cli/src/main.ts");
    const child = spawn(process.execPath, [main, "audit", "tail", path, "-f", "-n", "1", "-o", "json"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    try {
      const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
      const next = async (): Promise<number> => {
        const { value } = await lines.next();
        return (JSON.parse(String(value)) as { readonly sequence: number }).sequence;
      };
      assert.equal(await next(), 5);
      const more = processLines(10, 0).lines;
      appendFileSync(path, `${more[1]}\n${more[2]?.slice(0, 10)}`);
      assert.equal(await next(), 1);
      appendFileSync(path, `${more[2]?.slice(10)}\n`);
      assert.equal(await next(), 2);
      appendFileSync(path, `${more[3]}\n`);
      renameSync(path, `${path}.1`);
      writeFileSync(path, `${more[4]}\n`);
      assert.deepEqual([await next(), await next()], [3, 4]);
    } finally {
      child.kill();
      await once(child, "exit");
    }
  });
});
