// The audit log over sinks that fail, hang and come back: one that takes records is enough, and no
// result leaves that none has taken.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createAuditLog } from "@claviger/gateway-core/src/audit/log.ts";
import type { AuditSink } from "@claviger/gateway-core/src/audit/sinks.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { silent } from "../../fakes.ts";

type Line = { readonly sequence: number; readonly previous: string; readonly method: string };

function memorySink(name = "memory") {
  const lines: Line[] = [];
  const sink: AuditSink = {
    name,
    write: (bytes) => {
      for (const line of bytes.toString().trimEnd().split("\n")) lines.push(JSON.parse(line) as Line);
      return Promise.resolve();
    },
    close: () => Promise.resolve(),
  };
  return { lines, sink };
}

function hangingSink(): AuditSink & { release: () => void } {
  const gate = Promise.withResolvers<void>();
  return { name: "hanging", write: () => gate.promise, close: () => Promise.resolve(), release: () => gate.resolve() };
}

const entry = { at: 0, method: "status", outcome: "ok", milliseconds: 1 } as const;

function isUnavailable(error: unknown): boolean {
  return error instanceof KmsError && error.reason === "audit_unavailable";
}

test("a sink that hangs delays nobody while another one takes the records", async () => {
  const { lines, sink } = memorySink();
  const hanging = hangingSink();
  const audit = createAuditLog({ sinks: [hanging, sink], required: true, log: silent, deadlineMs: 30 });
  for (let i = 0; i < 5; i++) await audit.record(entry);
  assert.deepEqual(
    lines.map(({ sequence }) => sequence),
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
  const audit = createAuditLog({ sinks: [hanging], required: true, log: silent, deadlineMs: 30 });
  await assert.rejects(audit.record(entry), isUnavailable);
  await assert.rejects(audit.record(entry), isUnavailable);
  assert.ok(!audit.isHealthy());
  hanging.release();
  await audit.close();
});

test("a batch that was written nowhere leaves no gap; one that may have been keeps its number", async () => {
  const { lines, sink } = memorySink();
  let isFailing = true;
  const flaky: AuditSink = {
    ...sink,
    write: (bytes) => (isFailing ? Promise.reject(new Error("ENOSPC")) : sink.write(bytes)),
  };
  const audit = createAuditLog({ sinks: [flaky], required: true, log: silent });
  await assert.rejects(audit.record(entry), isUnavailable);
  isFailing = false;
  await audit.record(entry);
  await audit.record(entry);
  assert.deepEqual(
    lines.map(({ sequence }) => sequence),
    [0, 1],
  );
  assert.equal(lines[0]?.previous, "");
  assert.equal(audit.sinks()[0]?.missed, 1);
});

test("where records are not required a failing sink withholds nothing", async () => {
  const failing: AuditSink = {
    name: "full",
    write: () => Promise.reject(new Error("x")),
    close: () => Promise.resolve(),
  };
  const audit = createAuditLog({ sinks: [failing], required: false, log: silent });
  await audit.record(entry);
  assert.ok(audit.isHealthy());
});
