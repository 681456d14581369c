// The shim's configuration: what each source may say, and the names that settings had in 0.1.0.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { changedSettings, loadShimConfig } from "@claviger/shim/src/config.ts";

const dir = mkdtempSync(join(tmpdir(), "shim-config-"));
after(() => rmSync(dir, { recursive: true }));

function fileWith(outage: string): string {
  const file = join(dir, "shim.yaml");
  writeFileSync(
    file,
    `socket: { path: /run/kms.sock }\ngateways: [https://g:1]\ntls: { cert: c, key: k, ca: a }\noutage: ${outage}\n`,
  );
  return file;
}

test("settings of 0.1.0 are read under their earlier names, each with a warning", () => {
  const warnings: string[] = [];
  const warn = (line: string): number => warnings.push(line);
  const { outage } = loadShimConfig(fileWith("{ readyFor: 1m, writableFor: 2m }"), {}, {}, warn);
  assert.deepEqual(outage, { healthyFor: 60_000, degradedFor: 120_000 });
  assert.equal(warnings.length, 2);
  assert.match(warnings.join(), /outage\.readyFor is now called outage\.healthyFor/);

  const env = { CLAVIGER_SHIM_READY_FOR: "3m", CLAVIGER_SHIM_WRITABLE_FOR: "9m" };
  assert.deepEqual(loadShimConfig(fileWith("{}"), { "writable-for": "4m" }, env, warn).outage, {
    healthyFor: 180_000,
    degradedFor: 240_000,
  });
  assert.deepEqual(loadShimConfig(fileWith("{}"), { "degraded-for": "5m", "writable-for": "4m" }, {}, warn).outage, {
    healthyFor: 600_000,
    degradedFor: 300_000,
  });
});

test("the names of now warn of nothing; both names at once are a mistake", () => {
  const warn = (line: string): never => assert.fail(line);
  const { outage } = loadShimConfig(fileWith("{ healthyFor: 1m, degradedFor: 2m }"), {}, {}, warn);
  assert.deepEqual(outage, { healthyFor: 60_000, degradedFor: 120_000 });
  assert.throws(
    () => loadShimConfig(fileWith("{ healthyFor: 1m, readyFor: 2m }"), {}, {}, warn),
    /outage\.readyFor: no such setting/,
  );
});

test("what differs between two configurations is named by its setting", () => {
  const load = (outage: string, flags = {}): ReturnType<typeof loadShimConfig> =>
    loadShimConfig(fileWith(outage), flags, {});
  assert.deepEqual(changedSettings(load("{}"), load("{}")), []);
  assert.deepEqual(changedSettings(load("{}"), load("{ healthyFor: 1m }")), ["outage"]);
  assert.deepEqual(changedSettings(load("{}"), load("{}", { "socket-mode": "0660", "state-file": "/s" })), [
    "socket",
    "stateFile",
  ]);
});
