// Writes to a file descriptor that the process was given, such as standard error: never waits for
// whoever reads it. A pipe that nobody reads would stop the whole process otherwise, /livez and
// SIGTERM included. (docs/architecture.md #audit.)
import { closeSync, fstatSync, openSync, write, writeSync } from "node:fs";
import { Socket } from "node:net";

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

/** @throws the system's error when the descriptor is not open */
export function openOutput(fd: number): Output {
  if (!hasReader(fd)) {
    return {
      write: (bytes) =>
        new Promise((resolve, reject) => {
          write(fd, bytes, (error) => (error === null ? resolve() : reject(error)));
        }),
      waitingBytes: () => 0,
    };
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
  // Files and terminals are written at once, so that a process that ends has written its last line.
  if (!hasReader(fd)) return { write: (line) => void writeSync(fd, line) };
  const output = openOutput(fd);
  let missing = 0;
  const send = (line: string): void => {
    output.write(Buffer.from(line)).catch(() => {
      // Nobody is there to be told.
    });
  };
  return {
    write(line) {
      if (output.waitingBytes() > maxWaitingBytes) {
        missing += 1;
        return;
      }
      if (missing > 0) {
        send(dropped(missing));
        missing = 0;
      }
      send(line);
    },
  };
}

/** Can lines be appended to this file? @throws the system's error */
export function assertAppendable(path: string): void {
  closeSync(openSync(path, "a", 0o600));
}
