// Audit records as operators look at them: newest first, in pages, across rotations, and whether they are genuine.
import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { createFileSink } from "@claviger/gateway-core/src/audit/file-sink.ts";
import { openAuditLog } from "@claviger/gateway-core/src/audit/log.ts";
import type { AuditEntry } from "@claviger/gateway-core/src/audit/record.ts";
import { silentLog } from "@claviger/proto/runtime/log.ts";
import { createFileRecords } from "../../../../gateway/fleet/src/audit/file-records.ts";
import { rememberRecords } from "../../../../gateway/fleet/src/audit/memory-records.ts";
import type { AuditRecords, Found } from "../../../../gateway/fleet/src/audit/records.ts";
import { createVerifying, noVerifyKeys } from "../../../../gateway/fleet/src/audit/verification.ts";
import { callersOf, startWorld } from "./world.ts";

const T = 1_700_000_000_000;
const entry = (i: number): AuditEntry => ({
  at: T + i,
  method: "getCluster",
  milliseconds: 1,
  outcome: "ok",
  target: `c-${i}`,
});

async function site(t: TestContext) {
  const dir = mkdtempSync(join(tmpdir(), "records-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const path = join(dir, "audit.jsonl");
  const sinks = [createFileSink({ path, fsync: false })];
  const audit = await openAuditLog({ sinks, required: true, log: silentLog, replica: "replica-1" });
  t.after(() => audit.close());
  return { path, audit };
}

/** Everything that is wanted, page after page. */
async function allOf(kept: AuditRecords, size: number, isWanted: (found: Found) => boolean = () => true) {
  const pages: Found[][] = [];
  let from = "";
  do {
    const { found, next } = await kept.page({ isWanted, isOver: () => false, size, from });
    pages.push([...found]);
    from = next;
  } while (from !== "" && pages.length < 50);
  return pages;
}
const targets = (pages: readonly (readonly Found[])[]): readonly string[] =>
  pages.flat().flatMap(({ target }) => target ?? []);

test("records come newest first, in pages, without one twice or left out", async (t) => {
  const { path, audit } = await site(t);
  for (let i = 0; i < 25; i += 1) await audit.record(entry(i));
  const wanted = Array.from({ length: 25 }, (_, i) => `c-${24 - i}`);
  for (const size of [1, 7, 100]) {
    const pages = await allOf(createFileRecords(path), size);
    assert.deepEqual(targets(pages), wanted, `pages of ${size}`);
    assert.ok(pages.every((page) => page.length <= size));
  }
  assert.deepEqual(targets(await allOf(createFileRecords(path), 2, ({ at }) => at % 10 === 0)), [
    "c-20",
    "c-10",
    "c-0",
  ]);
});

test("a file that was moved away is gone on in, also in the middle of a search, and a line that both have counts once", async (t) => {
  const { path, audit } = await site(t);
  for (let i = 0; i < 5; i += 1) await audit.record(entry(i));
  const kept = createFileRecords(path);
  const first = await kept.page({ isWanted: () => true, isOver: () => false, size: 2, from: "" });
  renameSync(path, `${path}.1`);
  for (let i = 5; i < 8; i += 1) await audit.record(entry(i));
  const own = readFileSync(path, "utf8");
  const last = readFileSync(`${path}.1`, "utf8").trimEnd().split("\n").at(-1) ?? "";
  // As a sink leaves it that could not tell whether its last write was moved away as well.
  if (!own.startsWith(last)) writeFileSync(path, `${last}\n${own}`);
  assert.deepEqual(targets(await allOf(kept, 3)), ["c-7", "c-6", "c-5", "c-4", "c-3", "c-2", "c-1", "c-0"]);
  const rest = await kept.page({ isWanted: () => true, isOver: () => false, size: 10, from: first.next });
  assert.deepEqual(targets([rest.found]), ["c-2", "c-1", "c-0"]);
  writeFileSync(`${path}.2.gz`, "x");
  const page = await kept.page({ isWanted: () => true, isOver: () => false, size: 1, from: "" });
  assert.match(page.incomplete, /1 compressed files beside .* are not looked at/);
});

test("what is no record is passed over, a search ends where it is said to, and a page that is gone is refused", async (t) => {
  const { path, audit } = await site(t);
  for (let i = 0; i < 3; i += 1) await audit.record(entry(i));
  appendFileSync(path, '{"half');
  const kept = createFileRecords(path);
  assert.deepEqual(targets(await allOf(kept, 10)), ["c-2", "c-1", "c-0"]);
  const { found, next } = await kept.page({ isWanted: () => true, isOver: ({ at }) => at < T + 1, size: 10, from: "" });
  assert.deepEqual([targets([found]), next], [["c-2", "c-1"], ""]);
  await assert.rejects(
    kept.page({ isWanted: () => true, isOver: () => false, size: 1, from: "no" }),
    /page_token: is none/,
  );
  await assert.rejects(kept.page({ isWanted: () => true, isOver: () => false, size: 1, from: "1.1..-1" }), /is gone/);
});

test("without a file the newest records are kept in memory", async () => {
  const written: AuditEntry[] = [];
  const { audit, kept } = rememberRecords({
    record: (one) =>
      one.method === "lost" ? Promise.reject(new Error("no sink")) : Promise.resolve(void written.push(one)),
    isHealthy: () => true,
    sinks: () => [],
    signedAt: () => undefined,
    reopen: () => Promise.resolve(),
    close: () => Promise.resolve(),
  });
  for (let i = 0; i < 5002; i += 1) await audit.record(entry(i));
  await assert.rejects(audit.record({ ...entry(1), method: "lost" }));
  const pages = await allOf(kept, 1000);
  const all = targets(pages);
  assert.deepEqual([all.length, all[0], all.at(-1), written.length], [5000, "c-5001", "c-2", 5002]);
  const { incomplete } = await kept.page({ isWanted: () => true, isOver: () => false, size: 1, from: "" });
  assert.match(incomplete, /no sink is a file/);
});

test("a line that was changed is found, once a minute at most", async (t) => {
  const { path, audit } = await site(t);
  for (let i = 0; i < 4; i += 1) await audit.record(entry(i));
  const time = { now: T };
  const verifying = createVerifying(path, noVerifyKeys, () => time.now);
  assert.equal(verifying.last(), undefined);
  const { report } = await verifying.look();
  // Without a key, and no more than that.
  assert.deepEqual([report.findings, report.records, report.unchecked.length], [[], 5, 1]);
  writeFileSync(path, readFileSync(path, "utf8").replace("c-2", "c-9"));
  assert.deepEqual((await verifying.look()).report.findings, []);
  time.now += 60_000;
  const again = await verifying.look();
  assert.deepEqual(
    again.report.findings.map(({ kind }) => kind),
    ["edited"],
  );
  assert.equal(verifying.last()?.at, T + 60_000);
});

test("an operator of some clusters sees records of these, and their own calls", async (t) => {
  const world = await startWorld(t);
  const { admin, viewer, "operator of blue": bob } = await callersOf(world.ca);
  await world.call("GetCluster", { name: "blue" }, admin);
  await world.call("GetCluster", { name: "red" }, admin);
  await world.call("ListClusters", {}, admin);
  await world.call("GetCluster", { name: "red" }, bob);
  const search = async (message: object, who: typeof admin) => {
    const { json } = await world.call("SearchAudit", message, who);
    return ((json["records"] ?? []) as readonly Readonly<Record<string, string>>[]).map(
      ({ method, operator, target = "-", outcome }) => `${method} ${operator} ${target} ${outcome}`,
    );
  };
  assert.deepEqual(await search({}, bob), ["getCluster bob red invalid", "getCluster ada blue ok"]);
  const all = await search({}, viewer);
  assert.deepEqual(all.slice(-4), [
    "getCluster bob red invalid",
    "listClusters ada - ok",
    "getCluster ada red ok",
    "getCluster ada blue ok",
  ]);
  assert.deepEqual(await search({ target: "red", operator: "ada" }, viewer), ["getCluster ada red ok"]);
  assert.deepEqual(await search({ methods: ["listClusters"] }, viewer), ["listClusters ada - ok"]);
  assert.deepEqual(await search({ outcomes: ["invalid"] }, viewer), ["getCluster bob red invalid"]);
  const now = new Date(Date.now() + 60_000).toISOString();
  assert.deepEqual(await search({ since: now }, viewer), []);
  assert.equal((await search({ until: now, pageSize: 2 }, viewer)).length, 2);
});
