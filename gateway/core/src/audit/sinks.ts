// Where audit records go: a file, standard output. (docs/architecture.md #audit.)
import { type FileHandle, open, stat } from "node:fs/promises";
import type { Writable } from "node:stream";

/** Takes whole lines. */
export interface AuditSink {
  readonly name: string;
  /**
   * Resolves when the bytes are written (with `fsync`: are on the disk). Never called while an
   * earlier call is under way.
   * @throws the system's error
   */
  write(lines: Buffer): Promise<void>;
  close(): Promise<void>;
}

/**
 * Appends to a file of mode 0600; makes it when missing, and again after a log rotation moved it
 * away.
 */
export function createFileSink({ path, fsync }: { readonly path: string; readonly fsync: boolean }): AuditSink {
  let file: FileHandle | undefined;
  let checkedAt = 0;
  let isTorn = false;
  const current = async (): Promise<FileHandle> => {
    if (file !== undefined && Date.now() - checkedAt > 1000) {
      const [own, there] = await Promise.all([file.stat(), stat(path).catch(() => undefined)]);
      checkedAt = Date.now();
      if (there?.ino !== own.ino || there.dev !== own.dev) {
        await file.close();
        file = undefined;
      }
    }
    file ??= await open(path, "a", 0o600);
    return file;
  };
  return {
    name: `file ${path}`,
    async write(lines) {
      const handle = await current();
      // A write that failed half-way left a fragment: start the next on a line of its own.
      const bytes = isTorn ? Buffer.concat([Buffer.from("\n"), lines]) : lines;
      isTorn = true;
      for (let at = 0; at < bytes.length; ) at += (await handle.write(bytes, at)).bytesWritten;
      if (fsync) await handle.datasync();
      isTorn = false;
    },
    async close() {
      await file?.close();
    },
  };
}

/** Writes to a stream that belongs to the process, e.g. its standard output. */
export function createStreamSink(name: string, stream: Writable): AuditSink {
  return {
    name,
    write: (lines) =>
      new Promise((resolve, reject) => {
        stream.write(lines, (error) => (error instanceof Error ? reject(error) : resolve()));
      }),
    close: () => Promise.resolve(),
  };
}
