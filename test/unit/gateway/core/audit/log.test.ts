// The audit log over sinks that fail, hang and come back: one that takes records is enough, and no
// result leaves that none has taken.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createAuditLog } from "@claviger/gateway-core/src/audit/log.ts";
import type { AuditEntry } from "@claviger/gateway-core/src/audit/record.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { silent } from "../../fakes.ts";
import { createFakeSink, fullDisk } from "./fakes.ts";

type Line = AuditEntry & { readonly sequence: number; readonly previous: string };

function hangingSink() {
  const gate = Promise.withResolvers<void>();
  const sink = createFakeSink<Line>("hanging");
  sink.before = () => gate.promise;
  return { sink, release: () => gate.resolve() };
}

const entry = { at: 0, method: "status", outcome: "ok", milliseconds: 1 } as const;

function isUnavailable(error: unknown): boolean {
  return error instanceof KmsError && error.reason === "audit_unavailable";
}

test("a sink that hangs delays nobody while another one takes the records", async () => {
  const sink = createFakeSink<Line>();
  const hanging = hangingSink();
  const audit = createAuditLog({ sinks: [hanging.sink, sink], required: true, log: silent, deadlineMs: 30 });
  for (let i = 0; i < 5; i++) await audit.record(entry);
  assert.deepEqual(
    sink.records.map(({ sequence }) => sequence),
    [0, 1, 2, 3, 4],
  );
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.ok(audit.isHealthy());
  const [first, second] = audit.sinks();
  assert.match(first?.problem ?? "", /hanging has taken no record for 30 ms/);
  assert.ok(first?.since !== undefined);
  assert.equal(second?.problem, undefined);
  hanging.release();
  await audit.close();
  assert.equal(audit.sinks()[0]?.problem, undefined, "it took them in the end");
});

test("when every sink hangs, a record is refused in time and the next one as well", async () => {
  const hanging = hangingSink();
  const audit = createAuditLog({ sinks: [hanging.sink], required: true, log: silent, deadlineMs: 30 });
  await assert.rejects(audit.record(entry), isUnavailable);
  await assert.rejects(audit.record(entry), isUnavailable);
  assert.ok(!audit.isHealthy());
  hanging.release();
  await audit.close();
});

test("a number is used once: records that a sink misses are a gap, and the sink says of how many", async () => {
  const good = createFakeSink<Line>("good");
  const sink = createFakeSink<Line>("flaky");
  sink.before = fullDisk;
  const audit = createAuditLog({ sinks: [sink, good], required: true, log: silent });
  for (let i = 0; i < 3; i++) await audit.record(entry);
  sink.before = () => {};
  await audit.record(entry);
  await audit.close();
  assert.deepEqual(
    sink.records.map(({ sequence, method, count }) => [sequence, method, count]),
    [
      [3, "status", undefined],
      [4, "audit", 3],
    ],
  );
  assert.equal(sink.records[1]?.cause, "flaky misses records");
  assert.deepEqual(sink.records[1]?.missing, [[0, 2]]);
  assert.deepEqual(
    good.records.map(({ sequence }) => sequence),
    [0, 1, 2, 3, 4],
  );
  assert.equal(audit.sinks()[0]?.missed, 3);
});

test("a replica that is asked nothing finds out by itself that its sink is well again", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const sink = createFakeSink<Line>();
  sink.before = fullDisk;
  const audit = createAuditLog({ sinks: [sink], required: true, log: silent });
  await assert.rejects(audit.record(entry), isUnavailable);
  assert.ok(!audit.isHealthy());
  sink.before = () => {};
  t.mock.timers.tick(1000);
  await audit.close();
  assert.ok(audit.isHealthy());
  assert.deepEqual(
    sink.records.map(({ sequence, method, count }) => [sequence, method, count]),
    [
      [1, "audit", 0],
      [2, "audit", 1],
    ],
  );
});

test("a sink that is behind by more than its queue holds misses records, and memory does not grow", async () => {
  const sink = createFakeSink<Line>("good");
  const hanging = hangingSink();
  const audit = createAuditLog({ sinks: [hanging.sink, sink], required: true, log: silent, deadlineMs: 5 });
  const long = { ...entry, names: "n".repeat(1024 * 1024) };
  for (let i = 0; i < 20; i++) await audit.record(long);
  assert.equal(sink.records.length, 20);
  const [first] = audit.sinks();
  // The queue holds 8 MiB: 7 records of a little more than a mebibyte.
  assert.equal(first?.missed, 13);
  hanging.release();
  await audit.close();
  assert.match(sink.records.at(-1)?.cause ?? "", /hanging misses records/);
});

test("a sink whose queue is full to the brim is told of its gap once there is room, with all that it misses", async () => {
  const sink = createFakeSink<Line>("slow");
  const gate = Promise.withResolvers<void>();
  sink.before = () => gate.promise;
  const audit = createAuditLog({ sinks: [sink, createFakeSink()], required: true, log: silent, deadlineMs: 5 });
  // What is written first leaves less room than the record of the gap takes.
  await audit.record(entry);
  for (let i = 0; i < 9; i++) await audit.record({ ...entry, names: "n".repeat(1024 * 1024) });
  for (let i = 0; i < 9000; i++) await audit.record({ ...entry, names: "n".repeat(100) });
  const missed = audit.sinks()[0]?.missed ?? 0;
  assert.ok(missed > 2, "it misses long ones and short ones");
  gate.resolve();
  await audit.close();
  const told = sink.records.filter(({ method }) => method === "audit");
  assert.deepEqual(
    told.map(({ count }) => count),
    [missed],
  );
  assert.equal(sink.records.length, 1 + 9 + 9000 - missed + 1);
});

test("numbers that a sink misses here and there are told as runs", async () => {
  const sink = createFakeSink<Line>("flaky");
  let n = 0;
  // The first write fails, and the fifth and the sixth.
  sink.before = () => ([0, 4, 5].includes(n++) ? fullDisk() : undefined);
  const audit = createAuditLog({ sinks: [sink, createFakeSink()], required: true, log: silent });
  for (let i = 0; i < 5; i++) await audit.record(entry);
  await audit.record(entry);
  await audit.close();
  assert.deepEqual(
    sink.records.flatMap(({ missing }) => (missing === undefined ? [] : [missing])),
    [[[0, 0]], [[4, 5]]],
  );
});

test("where records are not required a failing sink withholds nothing", async () => {
  const sink = createFakeSink("full");
  sink.before = fullDisk;
  const audit = createAuditLog({ sinks: [sink], required: false, log: silent });
  await audit.record(entry);
  assert.ok(audit.isHealthy());
});
