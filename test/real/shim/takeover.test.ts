// A takeover with the shipped configuration, again and again under load, and every way in which a
// start can fail: the shim that serves goes on serving. (docs/architecture.md #shim.)
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chownSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { kmsClient } from "../../lab/kms.ts";
import { failuresOf } from "../../lab/load.ts";
import { freePorts, type LabProcess, logOf, readyLine, until } from "../../lab/process-group.ts";
import { startShimLoad } from "../../lab/shim-load.ts";
import { hasSocket } from "../../lab/sockets.ts";
import { type ShimNode, startShimNode } from "./node.ts";

/** The inode of the kernel's socket behind a path, as /proc/net/unix has it. */
function socketInode(path: string): string {
  const real = realpathSync(path);
  const line = readFileSync("/proc/net/unix", "utf8")
    .split("\n")
    .find((text) => text.endsWith(` ${real}`));
  return line?.trim().split(/\s+/)[6] ?? "none";
}

const takeovers = process.env["CLAVIGER_TEST_FULL"] === "1" ? 20 : 5;

suite("the socket is taken over, or left alone", () => {
  let node: ShimNode;
  let shim: LabProcess;
  let socket: string;
  before(async () => {
    node = await startShimNode();
    socket = node.settings.socket.path;
    shim = node.start("shim-0");
    await readyLine(shim);
  });
  after(() => node.stop());

  const serves = async (): Promise<void> => {
    const client = kmsClient(socket);
    try {
      const plaintext = Buffer.alloc(32, 7);
      assert.deepEqual(await client.decrypt(await client.encrypt(plaintext)), plaintext);
    } finally {
      client.close();
    }
  };
  const isReady = async (): Promise<boolean> =>
    await fetch(`http://127.0.0.1:${node.settings.health.port}/readyz`).then(
      ({ status }) => status === 200,
      () => false,
    );

  test(`${takeovers} takeovers with the shipped configuration, under load: no call fails`, async () => {
    const clients = [kmsClient(socket), kmsClient(socket)];
    await serves();
    const load = startShimLoad(clients, 200);
    try {
      for (let i = 1; i <= takeovers; i++) {
        const next = node.start(`shim-${i}`, { takeover: true });
        await readyLine(next);
        const before = shim;
        shim = next;
        before.child.kill("SIGTERM");
        await before.ended;
        assert.equal(before.child.exitCode, 0);
        // The port of the shim that has ended is the next one's.
        await readyLine(next, "health-listening");
        await until("the health port to answer", next, async () => ((await isReady()) ? true : undefined));
        await serves();
      }
    } finally {
      await load.stop();
      for (const client of clients) client.close();
    }
    const tally = load.take();
    console.log(`${takeovers} takeovers: ${tally.ok} calls, ${failuresOf(tally)} failed`);
    assert.deepEqual([...tally.failed], []);
    assert.ok(tally.ok > takeovers * 20, `${tally.ok} calls`);
    const left = readdirSync(node.runDir).filter((name) => /^\.[0-9a-f]{8}/.test(name));
    assert.deepEqual(left, [readlinkSync(socket)]);
  });

  test("two takeovers at the same moment: no call fails, and one of them has the path", async () => {
    const clients = [kmsClient(socket), kmsClient(socket)];
    await serves();
    const load = startShimLoad(clients, 200);
    try {
      for (let round = 0; round < takeovers; round++) {
        const both = [1, 2].map((i) => node.start(`both-${round}-${i}`, { takeover: true }));
        await Promise.all(both.map((one) => readyLine(one)));
        // Each bound `.XXXXXXXX` beside the path: the link tells whose socket it leads to.
        const owner = both.find(({ pid }) => hasSocket(pid, socketInode(socket)));
        assert.ok(owner !== undefined, "the path leads to one of the two");
        for (const old of [shim, ...both.filter((one) => one !== owner)]) {
          old.child.kill("SIGTERM");
          await old.ended;
          assert.equal(old.child.exitCode, 0);
        }
        shim = owner;
        await readyLine(shim, "health-listening");
        await serves();
      }
    } finally {
      await load.stop();
      for (const client of clients) client.close();
    }
    assert.deepEqual([...load.take().failed], []);
    const left = readdirSync(node.runDir).filter((name) => /^\.[0-9a-f]{8}/.test(name));
    assert.deepEqual(left, [readlinkSync(socket)]);
  });

  const refused = async (name: string, settings: Partial<ShimNode["settings"]>, says: RegExp, takeover = true) => {
    const before = { link: readlinkSync(socket), files: readdirSync(node.runDir) };
    const failing = node.start(name, { takeover, settings: { ...node.settings, ...settings } });
    await until(`${name} to end`, undefined, () => failing.child.exitCode ?? failing.child.signalCode ?? undefined);
    assert.equal(failing.child.exitCode, 2, logOf(failing));
    const text = logOf(failing);
    assert.match(text, says);
    // One line; for a setting that is wrong, a heading and a line about it.
    assert.match(text, /^claviger-shim: [^\n]+\n(?: {2}[^\n]+\n)?$/);
    assert.deepEqual({ link: readlinkSync(socket), files: readdirSync(node.runDir) }, before);
    await serves();
  };
  const inSocket = (change: object): Partial<ShimNode["settings"]> => ({
    socket: { ...node.settings.socket, ...change },
  });

  test("without --takeover a socket that is served is refused", async () => {
    const [port = 0] = await freePorts(1);
    const health = { ...node.settings.health, port };
    await refused("served", { health }, /^claviger-shim: .*served by another process/, false);
  });

  test("without --takeover a busy health port is refused", () =>
    refused("busy-port", {}, /^claviger-shim: .*EADDRINUSE/, false));

  test("a health address that is not the machine's is refused", () =>
    refused("address", { health: { address: "192.0.2.1", port: 1 } }, /^claviger-shim: .*EADDRNOTAVAIL/));

  test("a group that the socket cannot be given to is refused, and the filter lets it be asked for", () =>
    refused("chown", inSocket({ group: 12_345 }), /^claviger-shim: .*EPERM.*chown/));

  test("a certificate that cannot be read is refused", async () => {
    const { cert } = node.settings["tls"] as { readonly cert: string };
    chownSync(cert, 0, 0);
    try {
      await refused("certificate", {}, /^claviger-shim: tls: tls\.cert: .*cannot be read \(EACCES\)/);
    } finally {
      chownSync(cert, node.user, -1);
    }
  });

  test("a directory that may not be written to is refused", async () => {
    chownSync(node.runDir, 0, 0);
    spawnSync("chmod", ["755", node.runDir]);
    try {
      await refused("directory", {}, /^claviger-shim: .*EACCES/);
    } finally {
      chownSync(node.runDir, node.user, -1);
    }
  });

  test("a path that is too long is refused", () =>
    refused("long", inSocket({ path: join(node.runDir, "x".repeat(120)) }), /socket\.path: must be at most 107 bytes/));
});

suite("a file system without room for another socket", () => {
  let node: ShimNode;
  before(async () => {
    node = await startShimNode();
    const options = `size=64k,nr_inodes=24,mode=0700,uid=${node.user}`;
    const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", node.runDir]);
    assert.equal(mounted.status, 0, "a tmpfs is mounted by root only");
  });
  after(async () => {
    await node.lab.stop();
    spawnSync("umount", [node.runDir]);
    await node.stop();
  });

  test("ENOSPC: the start fails, and the shim that serves goes on", async () => {
    const socket = node.settings.socket.path;
    await readyLine(node.start("shim-0"));
    const client = kmsClient(socket);
    const plaintext = Buffer.alloc(32, 7);
    const sealed = await client.encrypt(plaintext);
    let files = 0;
    const fill = (): void => writeFileSync(join(node.runDir, `full-${files++}`), "");
    assert.throws(() => {
      for (;;) fill();
    }, /ENOSPC/);
    const link = readlinkSync(socket);
    // No room for the socket; then for the socket, but not for the link to it.
    for (const free of [0, 1]) {
      for (let i = 0; i < free; i++) rmSync(join(node.runDir, `full-${i}`));
      const failing = node.start(`full-${free}`, { takeover: true });
      await until(
        "the start to fail",
        undefined,
        () => failing.child.exitCode ?? failing.child.signalCode ?? undefined,
      );
      assert.equal(failing.child.exitCode, 2, logOf(failing));
      assert.match(logOf(failing), /^claviger-shim: .*ENOSPC.*\n$/);
      assert.equal(readlinkSync(socket), link);
      assert.ok(statSync(socket).isSocket());
      assert.deepEqual(await client.decrypt(sealed), plaintext);
    }
    client.close();
  });
});
