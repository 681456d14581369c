import assert from "node:assert/strict";
import {
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { claimSocket, type Socket } from "@claviger/shim/src/socket.ts";

function dirOf(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "claviger-socket-"));
  t.after(() => rmSync(dir, { recursive: true }));
  return dir;
}

type Change = {
  readonly mode?: number;
  readonly takeover?: boolean;
  readonly greeting?: string;
  readonly group?: number;
};

async function claim(
  t: TestContext,
  path: string,
  { mode = 0o600, takeover = false, greeting = "", group }: Change = {},
) {
  const server: Server = createServer((socket) => socket.on("error", () => {}).end(greeting));
  t.after(() => server.close());
  const setUmask = (mask: number): number => process.umask(mask);
  const socket: Socket = await claimSocket(server, { path, mode, group, takeover, setUmask });
  return { server, socket };
}

function greetingAt(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    connect(path)
      .on("data", (chunk) => {
        text += chunk.toString();
      })
      .on("end", () => resolve(text))
      .on("error", reject);
  });
}

const refused = { name: "SocketError" };

for (const mode of [0o600, 0o660])
  test(`the socket has mode ${mode.toString(8)} whatever the umask, which is put back`, async (t) => {
    const path = join(dirOf(t), "kms.sock");
    const before = process.umask(0);
    t.after(() => process.umask(before));
    await claim(t, path, { mode });
    assert.equal(statSync(path).mode & 0o777, mode);
    assert.equal(process.umask(), 0);
  });

test("a live socket is refused, and goes on serving", async (t) => {
  const path = join(dirOf(t), "kms.sock");
  await claim(t, path, { greeting: "first" });
  await assert.rejects(claim(t, path), refused);
  assert.equal(await greetingAt(path), "first");
});

test("what a killed shim left is replaced and removed", async (t) => {
  const dir = dirOf(t);
  const path = join(dir, "kms.sock");
  const dead = createServer();
  await new Promise<void>((resolve) => {
    dead.listen(join(dir, "bound"), resolve);
  });
  // A killed process leaves its file; a closed server removes the name that it bound, but not a
  // second one of the same file.
  linkSync(join(dir, "bound"), join(dir, ".deadbeef"));
  symlinkSync(".deadbeef", path);
  await new Promise<void>((resolve) => {
    dead.close(() => resolve());
  });
  await claim(t, path, { greeting: "new" });
  assert.equal(await greetingAt(path), "new");
  assert.equal(readdirSync(dir).length, 2);
});

test("a file, a directory and a foreign link are refused and left alone", async (t) => {
  const dir = dirOf(t);
  const [file, folder, link] = [join(dir, "file"), join(dir, "folder"), join(dir, "link")] as const;
  writeFileSync(file, "precious");
  mkdirSync(folder);
  symlinkSync(file, link);
  for (const path of [file, folder, link]) {
    await assert.rejects(claim(t, path), refused);
    await assert.rejects(claim(t, path, { takeover: true }), refused);
  }
  assert.equal(readFileSync(link, "utf8"), "precious");
  assert.ok(lstatSync(folder).isDirectory());
  assert.equal(readdirSync(dir).length, 3);
});

test("a takeover replaces a live socket; the old one's end leaves the new one alone", async (t) => {
  const dir = dirOf(t);
  const path = join(dir, "kms.sock");
  const old = await claim(t, path, { greeting: "old" });
  await claim(t, path, { greeting: "new", takeover: true });
  assert.equal(await greetingAt(path), "new");
  old.socket.release();
  old.server.close();
  assert.equal(await greetingAt(path), "new");
  assert.equal(readdirSync(dir).length, 2);
});

test("a released socket leaves nothing behind", async (t) => {
  const dir = dirOf(t);
  const { socket } = await claim(t, join(dir, "kms.sock"));
  socket.release();
  assert.deepEqual(readdirSync(dir), []);
});

test("what fails after the bind leaves the earlier link, the earlier shim and nothing else", async (t) => {
  const dir = dirOf(t);
  const path = join(dir, "kms.sock");
  await claim(t, path, { greeting: "old" });
  const before = readdirSync(dir).toSorted();
  // There is no group of this number: chown fails for root, too.
  await assert.rejects(claim(t, path, { greeting: "new", takeover: true, group: 2 ** 32 }), {
    code: "ERR_OUT_OF_RANGE",
  });
  assert.equal(await greetingAt(path), "old");
  assert.deepEqual(readdirSync(dir).toSorted(), before);
});

test("sockets and links of shims that were killed are removed, and nothing else", async (t) => {
  const dir = dirOf(t);
  const dead = createServer();
  await new Promise<void>((resolve) => {
    dead.listen(join(dir, "bound"), resolve);
  });
  linkSync(join(dir, "bound"), join(dir, ".0badcafe"));
  await new Promise<void>((resolve) => {
    dead.close(() => resolve());
  });
  symlinkSync(".0badcafe", join(dir, ".0badcafe.link"));
  writeFileSync(join(dir, ".abcdef01"), "a file of somebody's");
  await claim(t, join(dir, "other.sock"), { greeting: "other" });
  await claim(t, join(dir, "kms.sock"), { greeting: "mine" });
  assert.equal(await greetingAt(join(dir, "other.sock")), "other", "a live one is left alone");
  const names = readdirSync(dir);
  assert.ok(!names.some((name) => name.startsWith(".0badcafe")), names.join());
  assert.ok(names.includes(".abcdef01"));
});
