// The systemd unit as it is shipped, under its own system call filter, user and limits, with every
// setting that shim.yaml shows: nothing that the shim does is outside of it.
import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { after, before, suite, test } from "node:test";
import { kmsClient, type KmsClient } from "../../lab/kms.ts";
import { freePorts, type LabProcess, logOf, readyLine, until } from "../../lab/process-group.ts";
import { allowedCalls, readUnit } from "../../lab/unit.ts";
import { type ShimNode, startShimNode } from "./node.ts";

suite("the shipped unit", () => {
  let node: ShimNode;
  let shim: LabProcess;
  let kms: KmsClient;
  let collector: Server;
  let traces = 0;
  before(async () => {
    const [port = 0] = await freePorts(1);
    collector = createServer((request, response) => {
      request.resume().once("end", () => {
        traces++;
        response.end();
      });
    });
    await new Promise<void>((resolve) => void collector.listen(port, "127.0.0.1", resolve));
    node = await startShimNode({
      limits: { calls: 2048, connections: 64 },
      log: { level: "info" },
      tracing: { endpoint: `http://127.0.0.1:${port}/v1/traces`, ratio: 1, delay: "100ms" },
    });
    shim = node.start("shim");
    await readyLine(shim);
    kms = kmsClient(node.settings.socket.path);
  });
  after(async () => {
    kms.close();
    collector.close();
    await node.stop();
  });

  const serves = async (): Promise<void> => {
    const plaintext = Buffer.alloc(32, 7);
    assert.equal((await kms.status()).healthz, "ok");
    assert.deepEqual(await kms.decrypt(await kms.encrypt(plaintext)), plaintext);
  };
  const lives = (): void => {
    assert.deepEqual([shim.child.exitCode, shim.child.signalCode], [null, null], logOf(shim));
  };

  test("its process has the filter, the user, no privileges and no core dumps, and serves", async () => {
    await serves();
    const status = readFileSync(`/proc/${shim.pid}/status`, "utf8");
    const valueOf = (name: string): string => new RegExp(`^${name}:\\s*(.*)$`, "m").exec(status)?.[1] ?? "";
    assert.equal(valueOf("Seccomp"), "2");
    assert.equal(valueOf("NoNewPrivs"), "1");
    assert.equal(valueOf("CapEff"), "0000000000000000");
    assert.equal(valueOf("Uid").split("\t")[0], node.unit.one("User"));
    assert.match(readFileSync(`/proc/${shim.pid}/limits`, "utf8"), /Max core file size +0 +0/);
    lives();
  });

  test("the socket has the mode and the group of shim.yaml", () => {
    const { mode, gid } = statSync(node.settings.socket.path);
    assert.equal(mode & 0o777, 0o660);
    assert.equal(gid, node.settings.socket.group);
  });

  test("health, metrics and tracing work", async () => {
    const { port } = node.settings.health;
    for (const path of ["livez", "readyz", "metrics"])
      assert.equal((await fetch(`http://127.0.0.1:${port}/${path}`)).status, 200, path);
    await serves();
    await until("spans at the collector", shim, () => (traces > 0 ? true : undefined));
    lives();
  });

  test("a renewed certificate is taken up", async () => {
    await node.renewCertificate();
    await readyLine(shim, "files-reloaded");
    await serves();
    lives();
  });

  test("it is taken over, and the earlier one drains and ends by itself", async () => {
    const next = node.start("next", { takeover: true });
    await readyLine(next);
    const earlier = shim;
    shim = next;
    const calls = Array.from({ length: 50 }, serves);
    earlier.child.kill("SIGTERM");
    await Promise.all([...calls, earlier.ended]);
    assert.deepEqual([earlier.child.exitCode, earlier.child.signalCode], [0, null], logOf(earlier));
    await serves();
    lives();
  });

  test("SIGTERM with calls under way ends it in less time than the unit gives", async () => {
    const calls = Array.from({ length: 50 }, () => kms.encrypt(Buffer.alloc(32)));
    await kms.status();
    const start = performance.now();
    shim.child.kill("SIGTERM");
    await shim.ended;
    const [, seconds = ""] = /^(\d+)s$/.exec(node.unit.one("TimeoutStopSec")) ?? [];
    assert.ok(performance.now() - start < Number(seconds) * 1000);
    assert.deepEqual([shim.child.exitCode, shim.child.signalCode], [0, null], logOf(shim));
    await Promise.all(calls);
  });
});

test("a call outside of the filter ends a process: the sandbox is one", async (t) => {
  const node = await startShimNode();
  t.after(() => node.stop());
  const unit = readUnit();
  const allowed = allowedCalls(unit.all("SystemCallFilter"));
  for (const name of ["chown", "fchown", "bind", "futex", "mmap"]) assert.ok(allowed.has(name), name);
  for (const name of ["mount", "ptrace", "setuid", "setrlimit", "reboot"]) assert.ok(!allowed.has(name), name);
  // The filter of before the group's call was let through.
  const early = unit.all("SystemCallFilter").filter((line) => line !== "@chown");
  const withoutChown = { ...unit, all: (name: string) => (name === "SystemCallFilter" ? early : unit.all(name)) };
  const settings = { ...node.settings, socket: { ...node.settings.socket, group: 12_345 } };
  const shim = node.start("filtered", { settings, unit: withoutChown });
  await shim.ended;
  assert.equal(shim.child.signalCode, "SIGSYS");
});
