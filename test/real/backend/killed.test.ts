// The embedded backend's file under many processes that rotate at once and are killed at any moment:
// every version that one was told of is there, is no other's, and decrypts what it encrypted.
// (docs/architecture.md #backends.)
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { openBackend } from "@claviger/gateway-core/src/backend/open.ts";
import { ref, silent } from "../../unit/gateway/fakes.ts";

const atOnce = 16;
const rounds = process.env["CLAVIGER_TEST_FULL"] === "1" ? 8 : 2;
type Made = { readonly version: number; readonly ciphertext: string; readonly plaintext: string };

let dir: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), "claviger-"));
});
after(() => rm(dir, { recursive: true, force: true }));

/** Runs one until it has made a few versions, and kills it in the middle of whatever it does then. */
async function runAndKill(file: string, after: number): Promise<readonly Made[]> {
  const child: ChildProcess = spawn(process.execPath, [join(import.meta.dirname, "rotator.ts"), file], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const made: Made[] = [];
  assert.ok(child.stdout !== null);
  for await (const line of createInterface({ input: child.stdout })) {
    // The last line of one that was killed may be half of one: nobody was told.
    if (line.endsWith("}")) made.push(JSON.parse(line) as Made);
    if (made.length === after) setTimeout(() => child.kill("SIGKILL"), randomInt(0, 8));
  }
  assert.ok(
    child.signalCode === "SIGKILL" ||
      (await new Promise((resolve) => child.once("exit", (_, signal) => resolve(signal)))) === "SIGKILL",
  );
  return made;
}

test(`${atOnce} processes that rotate one key at once and are killed, ${rounds} times over: no version is lost or made twice`, async () => {
  const file = join(dir, "keys.json");
  const made: Made[] = [];
  for (let round = 0; round < rounds; round++)
    made.push(...(await Promise.all(Array.from({ length: atOnce }, () => runAndKill(file, randomInt(2, 40))))).flat());
  assert.ok(made.length >= atOnce * rounds * 2, `${made.length} versions`);
  assert.equal(new Set(made.map(({ version }) => version)).size, made.length, "a version was given to two");

  const { signal } = new AbortController();
  const backend = await openBackend({ name: "main", config: { kind: "embedded", file }, log: silent });
  const { versions, latest } = await backend.describe(ref, signal);
  assert.equal(versions.size, latest, "a version is missing");
  assert.ok(latest > made.length, "version 1, and those of which nobody was told");
  for (const { version, ciphertext, plaintext } of made) {
    const item = { ciphertext: Buffer.from(ciphertext, "base64"), associatedData: Buffer.from("a"), version };
    const [opened] = await backend.unwrap(ref, [item], signal);
    assert.ok(opened?.ok === true, `version ${version} decrypts no longer`);
    assert.equal(Buffer.from(opened.value.plaintext).toString("base64"), plaintext);
  }
  assert.deepEqual(await readdir(dir), ["keys.json"]);
  console.log(`${made.length} versions were told, ${latest} are there`);
});
