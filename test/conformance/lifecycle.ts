// Checks 1 to 8: the socket's life, and the process behind it.
import { constants } from "node:http2";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Check, expect, type Instance, type Target } from "./check.ts";
import { connect, encrypt, rawSocket, status } from "./rpc.ts";

async function accepts(path: string): Promise<boolean> {
  return await rawSocket(path).then(
    (socket) => {
      socket.destroy();
      return true;
    },
    () => false,
  );
}

async function waitUntil(what: string, ms: number, probe: () => Promise<boolean> | boolean): Promise<number> {
  const began = Date.now();
  while (!(await probe())) {
    expect(Date.now() - began < ms, `${what}: not within ${ms} ms`);
    await sleep(5);
  }
  return Date.now() - began;
}

async function launch(
  target: Target,
  path: string,
  options: Parameters<NonNullable<Target["launch"]>>[1] = {},
): Promise<Instance> {
  const instance = await target.launch?.(path, options);
  expect(instance !== undefined, "the target cannot launch");
  return instance;
}

async function end(instance: Instance): Promise<void> {
  instance.signal("SIGKILL");
  await instance.exited;
}

/** Starts on a path that it must refuse: it has to exit, with something to say. */
async function refuses(target: Target, path: string, what: string): Promise<void> {
  const instance = await launch(target, path);
  const code = await Promise.race([instance.exited, sleep(10_000, "still running" as const, { ref: false })]);
  if (code === "still running") await end(instance);
  expect(code !== "still running" && code !== 0, `${what}: ${code === 0 ? "exited with 0" : String(code)}`);
  expect(instance.output().trim() !== "", `${what}: exited without a word`);
}

export const lifecycleChecks: readonly Check[] = [
  {
    id: 1,
    title:
      "started while the gateway is not reachable: the socket accepts and Status answers, each within a second of the other",
    needs: ["launch"],
    async run(target, at) {
      const path = join(at.dir, "kms.sock");
      const instance = await launch(target, path, { unreachable: true });
      try {
        // A second for the plugin itself; how long its runtime takes to start is the machine's
        // affair.
        const up = await waitUntil("the socket", 5000, () => accepts(path));
        const connection = await at.open(path);
        const { code, ms } = await status(connection, {});
        expect(code >= 0 && ms < 1000, `Status answered ${code} after ${Math.round(ms)} ms`);
        return `socket after ${up} ms, Status after ${Math.round(ms)} ms with code ${code}`;
      } finally {
        await end(instance);
      }
    },
  },
  {
    id: 2,
    title: "a stale socket file of a killed instance is replaced",
    needs: ["launch"],
    async run(target, at) {
      const path = join(at.dir, "kms.sock");
      await end(
        await launch(target, path).then(
          async (first) => (await waitUntil("the first", 10_000, () => accepts(path)), first),
        ),
      );
      expect(
        lstatSync(path, { throwIfNoEntry: false }) !== undefined && !(await accepts(path)),
        "the killed instance left nothing behind",
      );
      const second = await launch(target, path);
      try {
        await waitUntil("the second", 10_000, () => accepts(path));
        const { code } = await status(await at.open(path), {});
        expect(code === 0, `Status answered ${code}`);
        return "replaced and serving";
      } finally {
        await end(second);
      }
    },
  },
  {
    id: 3,
    title: "a live instance's path is refused, and that instance goes on serving",
    needs: ["launch"],
    async run(target, at) {
      const path = join(at.dir, "kms.sock");
      const first = await launch(target, path);
      try {
        await waitUntil("the first", 10_000, () => accepts(path));
        await refuses(target, path, "the second");
        const { code } = await status(await at.open(path), {});
        expect(code === 0, `the first answered ${code} afterwards`);
        return "refused";
      } finally {
        await end(first);
      }
    },
  },
  {
    id: 4,
    title: "a file, a directory or a foreign symlink at the path is refused and left alone",
    needs: ["launch"],
    async run(target, at) {
      const file = join(at.dir, "file.sock");
      writeFileSync(file, "precious");
      const directory = join(at.dir, "directory.sock");
      mkdirSync(directory);
      const link = join(at.dir, "link.sock");
      symlinkSync(file, link);
      for (const path of [file, directory, link]) await refuses(target, path, basename(path));
      expect(
        readFileSync(file, "utf8") === "precious" && statSync(directory).isDirectory() && readlinkSync(link) === file,
        "something was changed",
      );
      return "three refusals, nothing touched";
    },
  },
  {
    id: 5,
    title: "a path of 108 bytes, a relative one and '@name' are refused with a message",
    needs: ["launch"],
    async run(target, at) {
      const long = join(at.dir, "x".repeat(108 - Buffer.byteLength(at.dir) - 1));
      expect(Buffer.byteLength(long) === 108, "the check's own folder is too deep");
      for (const path of [long, "relative.sock", "@name"]) await refuses(target, path, path.slice(0, 20));
      expect(
        !existsSync("@name") && !existsSync("relative.sock") && !existsSync(long.slice(0, 107)),
        "a file of a name nobody asked for",
      );
      return "three refusals";
    },
  },
  {
    id: 6,
    title: "under umask 000 the socket has its mode from the first instant it exists",
    needs: ["launch"],
    async run(target, at) {
      const path = join(at.dir, "kms.sock");
      const modes = new Set<string>();
      let watching = true;
      const watch = (async () => {
        while (watching) {
          const found = statSync(path, { throwIfNoEntry: false });
          if (found !== undefined) modes.add((found.mode & 0o777).toString(8));
          await new Promise((resolve) => setImmediate(resolve));
        }
      })();
      const instance = await launch(target, path, { umask: 0 });
      try {
        await waitUntil("the socket", 10_000, () => accepts(path));
        await sleep(200);
      } finally {
        watching = false;
        await watch;
        await end(instance);
      }
      const seen = [...modes];
      expect(seen.length === 1 && /^6[06]0$/.test(seen[0] ?? ""), `modes seen: ${seen.join(", ")}`);
      return `mode 0${seen[0]}`;
    },
  },
  {
    id: 7,
    title:
      "SIGTERM with an Encrypt in flight: it completes, new connections are refused, only the own socket goes, exit 0",
    needs: ["launch"],
    async run(target, at) {
      const path = join(at.dir, "kms.sock");
      const instance = await launch(target, path);
      await waitUntil("the socket", 10_000, () => accepts(path));
      const neighbour = join(dirname(path), "neighbour");
      writeFileSync(neighbour, "");
      const connection = await at.open(path);
      await status(connection, {});
      const flights = Array.from({ length: 20 }, () =>
        encrypt(connection, { plaintext: Buffer.alloc(32, 1), uid: "conformance" }, { timeoutMs: 10_000 }),
      );
      instance.signal("SIGTERM");
      const replies = await Promise.all(flights);
      const code = await Promise.race([instance.exited, sleep(15_000, "still running" as const, { ref: false })]);
      if (code === "still running") await end(instance);
      const failed = replies.filter((reply) => reply.code !== 0);
      expect(failed.length === 0, `${failed.length} of 20 calls in flight failed, with ${failed[0]?.code}`);
      expect(code === 0, `exit: ${String(code)}`);
      expect(
        !(await accepts(path)) && lstatSync(path, { throwIfNoEntry: false }) === undefined,
        "the socket is still there",
      );
      expect(existsSync(neighbour), "something else is gone");
      return "20 calls completed, exit 0";
    },
  },
  {
    id: 8,
    title: "an old and a new instance swapped under 100 calls a second: none fails",
    needs: ["launch"],
    async run(target, at) {
      const path = join(at.dir, "kms.sock");
      const old = await launch(target, path);
      await waitUntil("the old one", 10_000, () => accepts(path));
      const codesSeen: number[] = [];
      let running = true;
      // As kube-apiserver: one connection, and a new one as soon as that one is closed or going
      // away.
      const caller = (async () => {
        let connection = await connect(path);
        let isGoing = false;
        connection.session.once("goaway", () => {
          isGoing = true;
        });
        const flights: Promise<void>[] = [];
        while (running) {
          if (isGoing || connection.isClosed()) {
            const before = connection;
            isGoing = false;
            connection = await connect(path);
            connection.session.once("goaway", () => {
              isGoing = true;
            });
            setTimeout(() => before.close(), 3000);
          }
          const call = async (): Promise<void> => {
            const request = { plaintext: Buffer.alloc(32, 1), uid: "conformance" };
            const { code, reset } = await encrypt(connection, request);
            // Not taken by the server, and said so: gRPC clients send it again elsewhere.
            const isRefused = code === -1 && reset === constants.NGHTTP2_REFUSED_STREAM;
            codesSeen.push(isRefused ? (await encrypt(await connect(path), request)).code : code);
          };
          flights.push(call());
          await sleep(10);
        }
        await Promise.all(flights);
        connection.close();
      })();
      await sleep(500);
      const next = await launch(target, path, { takeover: true });
      await waitUntil("the new one", 10_000, () => /ready/i.test(next.output()));
      old.signal("SIGTERM");
      await old.exited;
      await sleep(1000);
      running = false;
      await caller;
      const stillThere = await accepts(path);
      await end(next);
      const failed = codesSeen.filter((code) => code !== 0);
      expect(failed.length === 0, `${failed.length} of ${codesSeen.length} calls failed, with ${failed[0]}`);
      expect(stillThere, "the old one took the new one's socket away");
      return `${codesSeen.length} calls`;
    },
  },
];
