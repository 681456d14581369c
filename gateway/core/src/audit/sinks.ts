// Where audit records go: a file, standard output. (docs/architecture.md #audit.)
import { type FileHandle, open, stat } from "node:fs/promises";
import { assertAppendable, isDiscarded, openOutput } from "@claviger/proto/runtime/output.ts";

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

/**
 * Writes to a descriptor that belongs to the process, e.g. its standard output. A reader that has
 * gone is an error of the sink, not the end of the process.
 * @throws the system's error when the descriptor is not open
 */
export function createOutputSink(name: string, fd: number): AuditSink {
  const output = openOutput(fd);
  return { name, write: (lines) => output.write(lines), close: () => Promise.resolve() };
}

/**
 * Can the configured sinks be written to? What a start would find, without a start. Makes no file:
 * it might be the wrong user's.
 * @returns one line for each that cannot
 */
export function checkSinks(
  sinks: readonly ({ readonly kind: "file"; readonly path: string } | { readonly kind: "stdout" })[],
): readonly string[] {
  return sinks.flatMap((sink, i) => {
    if (sink.kind === "stdout")
      return isDiscarded(1)
        ? [`audit.sinks.${i}: standard output is closed or /dev/null: no record would be kept`]
        : [];
    try {
      assertAppendable(sink.path);
      return [];
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? "unknown error";
      return [
        `audit.sinks.${i}: ${sink.path} cannot be written (${code}): its directory must be there, and it or the file be the gateway user's`,
      ];
    }
  });
}
