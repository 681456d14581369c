// The gateway's log, its standard error: whatever is wrong with it costs lines and nothing else.
import { execFileSync } from "node:child_process";
import { closeSync, constants, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { type KmsWorld, startKmsWorld } from "./kms-world.ts";
import { type Cells, describeEdges } from "./suite.ts";

/** What is held open of the pipe that stands for the log. */
type LogWorld = KmsWorld & { readonly held: number[] };

async function start(): Promise<LogWorld> {
  return { ...(await startKmsWorld({ backend: "embedded", redis: false })), held: [] };
}

const nothing = "a log is written, and nothing of it is read";
/** Standard error is somewhere else from the start on, by the words of a shell. */
function startedWith(redirection: (world: LogWorld) => string, opened: (world: LogWorld) => void = () => {}) {
  return {
    cause: async (world: LogWorld) => {
      opened(world);
      const line = `exec "$@" ${redirection(world)}`;
      await world.restartGateway({ argv: (argv) => ["sh", "-c", line, "sh", ...argv] });
    },
    cure: async (world: LogWorld) => {
      await world.restartGateway();
      for (const fd of world.held.splice(0)) closeSync(fd);
    },
    atFirst: ["gateway_unavailable", "deadline_exceeded"],
    end: "with a restart that gives it another one",
  };
}
const pipeOf = ({ lab }: LogWorld): string => join(lab.dir, "log.pipe");
/** Opens a new pipe for reading, so that whoever writes can open it; it holds 64 KiB. */
function openPipe(world: LogWorld): number {
  execFileSync("sh", ["-c", `rm -f ${pipeOf(world)} && mkfifo ${pipeOf(world)}`]);
  return openSync(pipeOf(world), constants.O_RDWR | constants.O_NONBLOCK);
}
function fill(fd: number): void {
  try {
    for (;;) writeSync(fd, Buffer.alloc(4096, "."));
  } catch {
    // It is full.
  }
}

const cells: Cells<LogWorld> = {
  absent: { how: "it is closed (`2>&-`)", ...startedWith(() => "2>&-") },
  slow: { unreachable: "a reader that is late is one that does not read, as in the next row, until it does" },
  silent: {
    how: "it is a pipe that is full and that nobody reads",
    ...startedWith(
      (world) => `2>${pipeOf(world)}`,
      (world) => {
        const fd = openPipe(world);
        fill(fd);
        world.held.push(fd);
      },
    ),
  },
  closing: {
    how: "it is a pipe whose reader goes away",
    ...startedWith((world) => `2>${pipeOf(world)}`, openReaderFor),
  },
  "refusing everything": { unreachable: "a descriptor that takes no writes is that of read-only" },
  "refusing one operation": { unreachable: "writing is all that is asked of it" },
  "answering from an older state": { unreachable: nothing },
  "answering nonsense": { unreachable: nothing },
  "answering for somebody else": { unreachable: nothing },
  full: { how: "its disk is full", ...startedWith(() => "2>/dev/full") },
  "read-only": { how: "it is open for reading alone", ...startedWith(() => "2</dev/null") },
  "credentials changed": { unreachable: "it is open from the start on, and no right is looked at later" },
  "certificate expired or replaced": { unreachable: "a file has none" },
  "clock wrong": { unreachable: nothing },
};

/** The reader is there while the program starts, and gone soon after. */
function openReaderFor(world: LogWorld): void {
  const fd = openPipe(world);
  setTimeout(() => closeSync(fd), 2000);
}

describeEdges({ dependency: "Log", start, cells, sample: [] });
