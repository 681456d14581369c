// The scenarios of `test/bench/fleet.ts` that go on for long run to their end in seconds, and what does not
// depend on the speed of a machine holds: nothing fails where a replica of everything is left.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { promisify } from "node:util";
import { rowsOf } from "./tables.ts";

const program = join(import.meta.dirname, "..", "..", "bench", "fleet.ts");
const limitMs = 150_000;
const isFull = process.env["CLAVIGER_TEST_FULL"] === "1";

async function tableRows(scenario: string, ...more: readonly string[]): Promise<readonly (readonly string[])[]> {
  const args = [program, "--scenario", scenario, "--seconds", "5", "--clusters", "2", ...more];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: limitMs });
  return rowsOf(stdout);
}

function cellOf(rows: readonly (readonly string[])[], name: string): string {
  const found = rows.find(([first]) => first === name);
  assert.ok(found !== undefined, `a row of ${name}`);
  return found.at(-1) ?? "";
}

suite("endurance, in seconds", () => {
  let dir: string;
  before(() => {
    dir = mkdtempSync(join(tmpdir(), "claviger-"));
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  test("sustained: requests are answered, and none fails where there is time for each", async () => {
    const rows = await tableRows("sustained", "--nodes", "4", "--calls", "100");
    assert.ok(Number(cellOf(rows, "requests a second, answered well")) > 0);
    assert.equal(cellOf(rows, "failed"), "0");
    assert.equal(cellOf(rows, "held back by the callers"), "0");
  });

  // Minutes of a full machine: in the full form alone.
  if (!isFull) return;

  test("overload: what reaches Vault is counted, and something is served", async () => {
    const rows = await tableRows("overload", "--nodes", "12");
    const numberOf = (name: string): number => Number(cellOf(rows, name).replaceAll(",", ""));
    const total = numberOf("Encrypts that reached Vault");
    assert.ok(total > 0);
    // None but for what stood in the callers' own event loops, of which no gateway can know.
    const late = numberOf("of these past their caller's deadline");
    assert.ok(late <= total / 100, `${late} of ${total} came too late`);
    const share = cellOf(rows, "goodput, share of the peak");
    assert.ok(Number.parseFloat(share) > 0, share);
  });

  test("alone: no Decrypt fails without Redis and a collector", async () => {
    const rows = await tableRows("alone", "--nodes", "2", "--calls", "40");
    assert.equal(cellOf(rows, "failed Decrypts"), "0");
    const decrypts = rows.filter(([, kind]) => kind === "decrypt");
    assert.equal(decrypts.length, 2);
    for (const [name, , good] of decrypts) assert.ok(Number(good?.replaceAll(",", "")) > 0, name);
  });

  test("soak: no call fails while keys are rotated and gateways and shims started again; the picture is there", async () => {
    const svg = join(dir, "soak.svg");
    const rows = await tableRows("soak", "--nodes", "2", "--calls", "40", "--svg", svg);
    for (const name of ["all simulated shims", "shim of cluster-00001", "shim of cluster-00002"])
      assert.equal(rows.findLast(([first]) => first === name)?.at(-1), "0", name);
    // Each gateway and each shim had two lives.
    assert.equal(rows.filter(([name]) => name === "gateway-2").length >= 2, true);
    const picture = readFileSync(svg, "utf8");
    assert.ok((picture.match(/<polyline /g)?.length ?? 0) >= 6);
    assert.ok(!picture.includes("NaN"));
  });
});
