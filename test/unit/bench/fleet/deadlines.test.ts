import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { arrivalsIn, deadlineOf, plaintextOf } from "../../../bench/fleet/deadlines.ts";

suite("deadlines in plaintexts", () => {
  test("are read as they were written, and not out of other plaintexts", () => {
    assert.equal(deadlineOf(plaintextOf(1_764_000_000_123.5)), 1_764_000_000_123.5);
    assert.equal(deadlineOf(Buffer.alloc(32)), undefined);
    assert.equal(deadlineOf(plaintextOf(1).subarray(1)), undefined);
  });

  test("are found in an audit file: single and in batches, the late ones counted, the earlier run left out", async () => {
    const dir = mkdtempSync(join(tmpdir(), "claviger-"));
    try {
      const at = Date.parse("2026-11-01T00:00:10Z");
      const line = (time: string, type: string, data: object): string =>
        JSON.stringify({ time, type, request: { operation: "update", path: "transit/encrypt/a", data } });
      const one = (late: number): object => ({ plaintext: plaintextOf(at - late).toString("base64") });
      const file = join(dir, "audit.log");
      writeFileSync(
        file,
        [
          line("2026-11-01T00:00:01Z", "request", one(100_000)),
          line("2026-11-01T00:00:10Z", "request", one(-1)),
          line("2026-11-01T00:00:10Z", "response", one(5)),
          line("2026-11-01T00:00:10Z", "request", { batch_input: [one(7), one(-7), { plaintext: "AAAA" }, one(3)] }),
          '{"time":"2026-11-01T00:00:10Z","type":"req',
        ].join("\n"),
      );
      assert.deepEqual(await arrivalsIn(file, at - 1000), { total: 4, late: 2, latest: 7 });
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
});
