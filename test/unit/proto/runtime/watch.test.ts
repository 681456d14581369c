import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { watchFiles } from "@claviger/proto/runtime/watch.ts";
import { pino } from "pino";

test("a change is taken once, a bad one is tried again, and files that a change brought in are watched from then on", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "claviger-"));
  const [config, first, second] = ["config", "first", "second"].map((name) => join(dir, name)) as [
    string,
    string,
    string,
  ];
  for (const file of [config, first, second]) await writeFile(file, "1");
  let pem = first;
  let changes = 0;
  let isBad = false;
  const watch = watchFiles({
    files: () => [config, pem],
    everyMs: 5,
    log: pino({ level: "silent" }),
    onChange() {
      if (isBad) throw new Error("bad");
      changes += 1;
      pem = second;
    },
  });
  t.after(async () => {
    watch.close();
    await rm(dir, { recursive: true });
  });
  const changed = async (count: number): Promise<void> => {
    for (const end = Date.now() + 5000; changes < count; await sleep(2)) assert.ok(Date.now() < end, `change ${count}`);
    // It is not taken a second time.
    await sleep(30);
    assert.equal(changes, count);
  };
  await changed(0);
  await writeFile(config, "names the second");
  await changed(1);
  await writeFile(first, "nobody looks at this any more");
  await changed(1);
  isBad = true;
  await writeFile(second, "renewed, half of it");
  await sleep(30);
  assert.equal(changes, 1);
  isBad = false;
  await changed(2);
});
