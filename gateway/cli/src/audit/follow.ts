// A file that grows, and that a log rotation moves away or truncates.
import { watch } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** Between two looks where the system does not tell of changes. */
const lookMs = 1000;

/**
 * The lines that are written to a file from an offset on, without their newlines, across rotations
 * and until the process ends.
 */
export async function* follow(file: string, from: number): AsyncGenerator<Buffer> {
  let handle: FileHandle | undefined;
  let [at, ino, rest] = [from, 0, Buffer.alloc(0)];
  const news = createNews(file);
  try {
    for (;;) {
      const there = await stat(file).catch(() => undefined);
      const isOther = handle !== undefined && there?.ino !== ino;
      handle ??= await open(file, "r").catch(() => undefined);
      if (handle !== undefined && ino === 0) ino = (await handle.stat()).ino;
      if (there !== undefined && !isOther && there.size < at) [at, rest] = [0, Buffer.alloc(0)];
      for (;;) {
        const { bytesRead = 0, buffer = Buffer.alloc(0) } =
          (await handle?.read(Buffer.alloc(2 ** 16), 0, 2 ** 16, at)) ?? {};
        if (bytesRead === 0) break;
        at += bytesRead;
        rest = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
        for (let end = rest.indexOf(10); end !== -1; end = rest.indexOf(10)) {
          yield rest.subarray(0, end);
          rest = rest.subarray(end + 1);
        }
      }
      if (isOther) {
        // Read to its end, then the one that has its name now.
        await handle?.close();
        [handle, at, ino, rest] = [undefined, 0, 0, Buffer.alloc(0)];
        if (there !== undefined) continue;
      }
      await news.next();
    }
  } finally {
    news.close();
    await handle?.close();
  }
}

/** Waits for a change in the file's folder. */
function createNews(file: string): { next(): Promise<void>; close(): void } {
  let { promise, resolve } = Promise.withResolvers<void>();
  const watcher = watch(dirname(file), () => resolve());
  watcher.on("error", () => {});
  return {
    async next() {
      await Promise.race([promise, sleep(lookMs)]);
      ({ promise, resolve } = Promise.withResolvers<void>());
    },
    close: () => watcher.close(),
  };
}
