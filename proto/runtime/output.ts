// Writes to a file descriptor that the process was given, such as standard error: never waits for
// whoever reads it. A pipe that nobody reads would stop the whole process otherwise, /livez and
// SIGTERM included. (docs/architecture.md #audit.)
import { accessSync, closeSync, constants, existsSync, fstatSync, openSync, statSync, write, writeSync } from "node:fs";
import { Socket } from "node:net";
import { dirname } from "node:path";

export interface Output {
  /**
   * Resolves when the bytes have left the process. One write at a time, or they may mix.
   * @throws the system's error, such as EPIPE, for this and every later write
   */
  write(bytes: Buffer): Promise<void>;
  /** Bytes that wait to be read. */
  waitingBytes(): number;
}

/** Is the descriptor a pipe or a socket, whose reader may stop? Files and terminals take what comes. */
function hasReader(fd: number): boolean {
  const stats = fstatSync(fd);
  return stats.isFIFO() || stats.isSocket();
}

/** All of the bytes; a full disk may take a part of them first. */
async function writeAll(fd: number, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    at += await new Promise<number>((resolve, reject) => {
      write(fd, bytes, at, (error, written) => (error === null ? resolve(written) : reject(error)));
    });
  }
}

/** @throws the system's error when the descriptor is not open */
export function openOutput(fd: number): Output {
  if (!hasReader(fd)) {
    return { write: (bytes) => writeAll(fd, bytes), waitingBytes: () => 0 };
  }
  // A handle of its own: written without waiting, and its errors are ours and not the process's.
  const pipe = new Socket({ fd, readable: false, writable: true });
  let failure: Error | undefined;
  pipe.on("error", (error) => {
    failure = error;
  });
  pipe.unref();
  return {
    write: (bytes) =>
      new Promise((resolve, reject) => {
        if (failure !== undefined) return reject(failure);
        pipe.write(bytes, (error) => (error === undefined || error === null ? resolve() : reject(error)));
        return undefined;
      }),
    waitingBytes: () => pipe.writableLength,
  };
}

/** Lines that wait for a reader, at most; later ones are dropped. */
const maxWaitingBytes = 256 * 1024;

export type LineOutput = { write(line: string): void };

/**
 * Lines that may be lost, but cost no time: a log. What was dropped is said once there is room.
 * @param dropped the line that says how many are missing
 */
export function openLineOutput(fd: number, dropped: (count: number) => string): LineOutput {
  const lines = hasReader(fd) ? pipeOf(fd) : fileOf(fd);
  let missing = 0;
  return {
    write(line) {
      if (missing > 0 && lines.take(dropped(missing))) missing = 0;
      if (!lines.take(line)) missing += 1;
    },
  };
}

type Lines = {
  /** Is the line written, or on its way? */
  take(line: string): boolean;
};

/** Files and terminals are written at once, so that a process that ends has written its last line. */
function fileOf(fd: number): Lines {
  return {
    take(line) {
      try {
        return writeSync(fd, line) > 0;
      } catch {
        // A full disk.
        return false;
      }
    },
  };
}

function pipeOf(fd: number): Lines {
  const output = openOutput(fd);
  let isFull = false;
  return {
    take(line) {
      // Half empty before it is used again, or every other line would say what was dropped.
      isFull = output.waitingBytes() > (isFull ? maxWaitingBytes / 2 : maxWaitingBytes);
      if (isFull) return false;
      output.write(Buffer.from(line)).catch(() => {
        // The reader has gone: nobody is there to be told.
      });
      return true;
    },
  };
}

/** Does what is written there vanish? Node opens /dev/null for a standard descriptor that is closed. */
export function isDiscarded(fd: number): boolean {
  const stats = fstatSync(fd);
  return stats.isCharacterDevice() && stats.rdev === statSync("/dev/null").rdev;
}

/**
 * Can lines be appended to this file, or can it be made? Makes none, and does not wait for the
 * reader of a named pipe.
 * @throws the system's error
 */
export function assertAppendable(path: string): void {
  if (existsSync(path)) closeSync(openSync(path, constants.O_WRONLY | constants.O_APPEND | constants.O_NONBLOCK));
  else accessSync(dirname(path), constants.W_OK | constants.X_OK);
}
