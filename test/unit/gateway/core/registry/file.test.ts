// The registry in a file, of which something else stands in its place.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { openFileRegistry } from "@claviger/gateway-core/src/registry/file.ts";
import { pino } from "pino";

const text = `clusters:
  - name: one
    uid: 01ARZ3NDEKTSV4RRFFQ69G5FAV
    state: active
    rotation: auto
    keys: [{ backend: main, mount: transit, key: one }]
`;

test("a read that never ends is said once, holds up nothing, and the file is read again when it does", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "claviger-"));
  const file = join(dir, "clusters.yaml");
  writeFileSync(file, text);
  const problems: string[] = [];
  const log = pino({ level: "error" }, { write: (line: string) => void problems.push(line) });
  const registry = await openFileRegistry({ file, backends: new Set(["main"]), log });
  t.after(() => {
    registry.close();
    rmSync(dir, { recursive: true });
  });
  assert.equal(registry.problem(), undefined);

  rmSync(file);
  execFileSync("mkfifo", [file]);
  await registry.refresh();
  await registry.refresh();
  assert.match(registry.problem() ?? "", /no answer from the file system/);
  assert.equal(problems.length, 1);

  const pipe = openSync(file, constants.O_RDWR | constants.O_NONBLOCK);
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
  closeSync(pipe);
  // The read of the pipe ends, and what it read is no registry.
  for (let i = 0; i < 10 && registry.problem() !== undefined; i++) await registry.refresh();
  assert.equal(registry.problem(), undefined);
});
