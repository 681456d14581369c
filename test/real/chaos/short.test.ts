// `npm run chaos -- --short`: a part of each kind is killed or stopped under load, and no answer is wrong, none
// is lost, and none fails that has a replica of everything left.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { before, suite, test } from "node:test";
import { shortIds } from "../../chaos/faults.ts";

const root = join(import.meta.dirname, "..", "..", "..");
const limitMs = 300_000;

suite("npm run chaos -- --short", () => {
  let status: number | null;
  let rows: readonly (readonly string[])[];
  let said: string;

  before(async () => {
    const child = spawn(process.execPath, [join(root, "test", "run", "chaos.ts"), "--short"], {
      stdio: ["ignore", "pipe", "pipe"],
      timeout: limitMs,
    });
    const ended = new Promise<number | null>((resolve) => void child.once("close", resolve));
    const [table, lines] = await Promise.all([text(child.stdout), text(child.stderr)]);
    status = await ended;
    said = `${lines}\n${table}`;
    rows = table
      .split("\n")
      .filter((line) => line.startsWith("| "))
      .slice(2)
      .map((line) => line.split(" | "));
  });

  test("every fault was tried, under load", () => {
    assert.equal(rows.length, shortIds.length, said);
    for (const [name, , requests] of rows) assert.ok(Number(requests?.replace(",", "")) > 50, `${name}: ${requests}`);
  });

  test("nothing is wrong or lost, and nothing fails that has a replica left", () => {
    assert.equal(status, 0, said);
    for (const row of rows) assert.deepEqual(row.slice(4, 6), ["0", "0"], row.join(" "));
    // Two rows have no replica of something: their failures are the only ones.
    const failing = rows.filter(([, , , failed]) => failed !== "0").map(([name]) => name);
    assert.ok(
      failing.every((name) => /shim|etcd/.test(name ?? "")),
      said,
    );
  });
});
