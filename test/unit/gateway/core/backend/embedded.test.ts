import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, suite, test } from "node:test";
import { openBackend } from "@claviger/gateway-core/src/backend/open.ts";
import type { OpenBackend } from "@claviger/gateway-core/src/backend/port.ts";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import { pino } from "pino";
import { ref, silent } from "../../fakes.ts";

const signal = new AbortController().signal;
const aad = Buffer.from("a");

suite("the embedded backend", () => {
  let dir: string;
  let file: string;
  const open = (log = silent): Promise<OpenBackend> =>
    openBackend({ name: "main", config: { kind: "embedded", file }, log });

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    file = join(dir, "keys.json");
  });
  afterEach(() => rm(dir, { recursive: true }));

  test("keeps its file to itself and leaves nothing beside it", async () => {
    const backend = await open();
    await backend.describe(ref, signal);
    await backend.rotate(ref, signal);
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    assert.deepEqual(await readdir(dir), ["keys.json"]);
  });

  test("says that it is not a Vault, and louder when others may read the file", async () => {
    const events: string[] = [];
    const log = pino(
      { level: "info" },
      { write: (line: string) => void events.push((JSON.parse(line) as { event: string }).event) },
    );
    await (await open(log)).describe(ref, signal);
    await chmod(file, 0o644);
    await open(log);
    assert.deepEqual(events, ["embedded-backend", "embedded-file-open", "embedded-backend"]);
  });

  test("sees at the next look what another process wrote, and survives a restart", async () => {
    const [gateway, cli] = [await open(), await open()];
    const item = { plaintext: randomBytes(32), associatedData: aad, version: 1 };
    await gateway.describe(ref, signal);
    const [wrapped] = await gateway.wrap(ref, [item], signal);
    assert.ok(wrapped?.ok === true);
    await cli.rotate(ref, signal);
    await cli.promote(ref, 2, signal);
    const { latest, minEncryption } = await gateway.describe(ref, signal);
    assert.deepEqual([latest, minEncryption], [2, 2]);
    const [opened] = await (await open()).unwrap(ref, [{ ...wrapped.value, associatedData: aad }], signal);
    assert.ok(opened?.ok === true && item.plaintext.equals(opened.value.plaintext));
  });

  test("two writers at once lose nothing", async () => {
    const [one, other] = [await open(), await open()];
    await Promise.all(Array.from({ length: 12 }, (_, i) => (i % 2 === 0 ? one : other).rotate(ref, signal)));
    assert.equal((await one.describe(ref, signal)).latest, 13);
  });

  test("a file that is not usable is an error that says so, and stays as it is", async () => {
    const junk = [
      "",
      "{",
      "[]",
      '{"format":"claviger-keys-1","keys":{"transit/prod":{"minEncryption":0,"minDecryption":1,"versions":{}}}}',
    ];
    for (const text of junk) {
      await writeFile(file, text);
      await assert.rejects(open(), ConfigError, text);
      assert.equal(await readFile(file, "utf8"), text);
    }
  });

  test("a file that breaks or goes away while it is open is not overwritten", async () => {
    const backend = await open();
    await backend.describe(ref, signal);
    await writeFile(file, "{");
    await assert.rejects(backend.rotate(ref, signal), { reason: "backend_unavailable" });
    await assert.rejects(backend.health(signal), { reason: "backend_unavailable" });
    assert.equal(await readFile(file, "utf8"), "{");
    await rm(file);
    await assert.rejects(backend.rotate(ref, signal), { reason: "backend_unavailable" });
    assert.deepEqual(await readdir(dir), []);
  });

  test("a retired version does not open, and one below the promoted does not encrypt", async () => {
    const backend = await open();
    await backend.describe(ref, signal);
    const [wrapped] = await backend.wrap(
      ref,
      [{ plaintext: randomBytes(32), associatedData: aad, version: 1 }],
      signal,
    );
    assert.ok(wrapped?.ok === true);
    await backend.rotate(ref, signal);
    await backend.promote(ref, 2, signal);
    await backend.setMinDecryption(ref, 2, signal);
    const [opened] = await backend.unwrap(ref, [{ ...wrapped.value, associatedData: aad }], signal);
    assert.equal(opened?.ok === false && opened.error.reason, "key_missing");
    const [refused] = await backend.wrap(
      ref,
      [{ plaintext: randomBytes(32), associatedData: aad, version: 1 }],
      signal,
    );
    assert.equal(refused?.ok === false && refused.error.reason, "request_malformed");
  });

  const early = {
    format: "claviger-keys-1",
    keys: {
      "transit/prod": {
        minEncryption: 1,
        minDecryption: 1,
        versions: { 1: { createdAt: 1, material: Buffer.alloc(32, 1).toString("base64") } },
      },
    },
  };
  for (const [how, text] of [
    ["as 0.1.0 wrote it", `${JSON.stringify(early, undefined, 2)}\n`],
    ["on one line", JSON.stringify(early)],
  ] as const)
    test(`a file of 0.1.0 is read and goes on, ${how}`, async () => {
      await writeFile(file, text, { mode: 0o600 });
      const backend = await open();
      assert.equal(await backend.rotate(ref, signal), 2);
      await backend.promote(ref, 2, signal);
      const { versions, minEncryption } = await (await open()).describe(ref, signal);
      assert.deepEqual([versions.get(1), versions.size, minEncryption], [1, 2, 2]);
      assert.ok((await readFile(file, "utf8")).startsWith(text));
    });

  test("what a process left that ended in the middle of a line is no change, and hides none", async () => {
    const backend = await open();
    await backend.rotate(ref, signal);
    const whole = await readFile(file, "utf8");
    const last = whole.trimEnd().split("\n").at(-1) ?? "";
    for (let length = 1; length < last.length; length += 7) {
      await writeFile(file, `${whole}\n${last.slice(0, length)}`);
      const again = await open();
      assert.equal((await again.describe(ref, signal)).latest, 2);
      assert.equal(await again.rotate(ref, signal), 3);
      assert.equal((await (await open()).describe(ref, signal)).latest, 3);
    }
  });

  test("a line whose bytes were changed is an error, and the file stays as it is", async () => {
    const backend = await open();
    await backend.rotate(ref, signal);
    const changed = (await readFile(file, "utf8")).replace('"rotate"', '"rotatE"');
    await writeFile(file, changed);
    await assert.rejects(open(), /a line whose checksum is not right; restore it from a backup/);
    assert.equal(await readFile(file, "utf8"), changed);
  });
});
