// Every check can fail: a plugin that is right passes, and each way of being wrong is found by the
// check that is meant for it.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { allChecks } from "../../conformance/all.ts";
import { type Result, runChecks, type Target } from "../../conformance/check.ts";
import { startInstance } from "../../conformance/commands.ts";
import { createKek, type Mutation, startReference } from "./reference.ts";

const dir = mkdtempSync("/tmp/kms-");
after(() => rmSync(dir, { recursive: true, force: true }));

async function run(mutation: Mutation, ids: readonly number[]): Promise<readonly Result[]> {
  const kek = createKek();
  const paths = [1, 2].map((node) => join(dir, `${randomBytes(4).toString("hex")}-${node}`));
  const [socket = "", secondSocket = ""] = paths;
  const servers = [await startReference(socket, kek, mutation), await startReference(secondSocket, kek, mutation)];
  const target: Target = {
    socket,
    secondSocket,
    propagationMs: 500,
    launch: (path) =>
      Promise.resolve(startInstance([process.execPath, join(import.meta.dirname, "plugin.ts"), path, mutation], 0)),
    rotate: () => {
      kek.keys.push(randomBytes(32));
      return Promise.resolve();
    },
    recreate: () => {
      kek.keys.push(randomBytes(32));
      return Promise.resolve();
    },
    logs: () => Promise.resolve(kek.log),
    rss: () => Promise.resolve(process.memoryUsage.rss()),
    backend: {
      down: () => {
        kek.isDown = true;
        return Promise.resolve();
      },
      up: () => {
        kek.isDown = false;
        return Promise.resolve();
      },
      calls: () => Promise.resolve(kek.calls),
    },
  };
  try {
    return await runChecks(
      allChecks.filter(({ id }) => ids.includes(id)),
      target,
      (id) => mkdtempSync(join(dir, `${id}-`)),
      () => {},
    );
  } finally {
    for (const server of servers) server.forceShutdown();
  }
}

test("the kit has forty checks, numbered from 1", () => {
  assert.deepEqual(
    allChecks.map(({ id }) => id).toSorted((a, b) => a - b),
    Array.from({ length: 40 }, (_, i) => i + 1),
  );
});

test("what a target does not give is reported as not run", async () => {
  const results = await runChecks(
    allChecks,
    { socket: "/nowhere" },
    () => dir,
    () => {},
  );
  assert.ok(results.some(({ result }) => result === "not-run"));
  assert.ok(!results.some(({ result }) => result === "pass"));
});

const right = [1, 2, 3, 4, 5, 6, 9, 11, 12, 15, 16, 19, 21, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39];
// Not 7: grpc-js by itself ends before its calls do.
test("a plugin that is right passes", async () => {
  const failed = (await run("none", right)).filter(({ result }) => result !== "pass");
  assert.deepEqual(failed, []);
});

const caught: readonly (readonly [Mutation, readonly number[]])[] = [
  ["wrong key_id in Encrypt", [28]],
  ["empty ciphertext", [27]],
  ["no tamper check", [31]],
  ["key_id not bound", [31, 32]],
  ["flapping key_id", [28, 36, 38]],
  ["key_id comes back", [37]],
  ["deterministic", [29]],
  ["long ciphertext", [30]],
  ["healthz OK", [21]],
  ["secret in healthz", [26]],
  ["wrong v1 version", [39]],
  ["unknown method served", [11]],
  ["other error code", [33]],
  ["injectable log", [35]],
  ["takes any path", [4]],
  ["open mode", [6]],
  ["dies at SIGTERM", [7]],
  ["waits for its backend", [1]],
];
for (const [mutation, ids] of caught)
  test(`found out: ${mutation}`, async () => {
    for (const { id, result, evidence } of await run(mutation, ids))
      assert.equal(result, "fail", `check ${id}: ${evidence}`);
  });
