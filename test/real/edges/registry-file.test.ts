// The registry in a file: what stands in it that should not, and what stands in its place. The last good
// state holds.
import { execFileSync } from "node:child_process";
import {
  constants,
  copyFileSync,
  mkdirSync,
  openSync,
  closeSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  chmodSync,
} from "node:fs";
import { type KmsWorld, startKmsWorld } from "./kms-world.ts";
import { type Cells, describeEdges } from "./suite.ts";

const start = (): Promise<KmsWorld> => startKmsWorld({ backend: "embedded", redis: false });

const copy = ({ lab }: KmsWorld): string => `${lab.registry}.copy`;
/** The file is moved away for as long as the fault lasts. */
function replaced(by: (file: string, world: KmsWorld) => void) {
  return {
    cause(world: KmsWorld): void {
      copyFileSync(world.lab.registry, copy(world));
      by(world.lab.registry, world);
    },
    cure(world: KmsWorld): void {
      rmSync(world.lab.registry, { recursive: true, force: true });
      renameSync(copy(world), world.lab.registry);
    },
  };
}
const all = (reason: string) => ({ Status: [reason], Encrypt: [reason], Decrypt: [reason] });
/** Somebody writes, for whoever reads: a pipe that nobody opens for writing holds up its reader. */
function openPipe(file: string): void {
  closeSync(openSync(file, constants.O_RDWR | constants.O_NONBLOCK));
}

const cells: Cells<KmsWorld> = {
  absent: { how: "the file is removed", ...replaced((file) => rmSync(file)) },
  slow: {
    unreachable:
      "a slow file is one that is read later: an edit is in force so much later, and calls do not wait for it, as in the next row",
  },
  silent: {
    how: "reading the file never ends (a pipe that nobody writes to is in its place)",
    ...replaced((file) => {
      rmSync(file);
      execFileSync("mkfifo", [file]);
    }),
    // The read that waits ends with nothing.
    maybeAtEnd: ["registry-rejected", "registry-changed"],
    cure(world) {
      openPipe(world.lab.registry);
      renameSync(copy(world), world.lab.registry);
      openPipe("/dev/null");
    },
  },
  closing: {
    how: "the file ends in the middle",
    ...replaced((file) => truncateSync(file, Math.floor(readFileSync(file).length / 2))),
  },
  "refusing everything": {
    how: "a directory is in its place",
    ...replaced((file) => {
      rmSync(file);
      mkdirSync(file);
    }),
  },
  "refusing one operation": { unreachable: "a file is read as a whole or not: see the rows above" },
  "answering from an older state": {
    how: "the file is of a lower generation than the one in force",
    cause({ lab }) {
      const text = readFileSync(lab.registry, "utf8");
      writeFileSync(`${lab.registry}.copy`, text);
      writeFileSync(lab.registry, text.replace(/generation: \d+/, "generation: 1"));
    },
    cure: (world) => renameSync(copy(world), world.lab.registry),
  },
  "answering nonsense": {
    how: "the file holds bytes that are no YAML",
    ...replaced((file) => writeFileSync(file, Buffer.from([0xff, 0xfe, 0x00, 0x7b, 0x7b, 0x0a]))),
  },
  "answering for somebody else": {
    how: "the file is the registry of another fleet",
    ...replaced((file) =>
      writeFileSync(
        file,
        readFileSync(file, "utf8")
          .replace("cluster-1", "stranger")
          .replace(/uid: .*/, "uid: 01ARZ3NDEKTSV4RRFFQ69G5FAV"),
      ),
    ),
    callers: all("cluster_unknown"),
    end: "once the fleet's own is there again",
  },
  full: {
    how: "the disk was full when it was written: the file is empty",
    ...replaced((file) => truncateSync(file)),
  },
  "read-only": {
    how: "its mode is 0444",
    cause: ({ lab }) => chmodSync(lab.registry, 0o444),
    cure: ({ lab }) => chmodSync(lab.registry, 0o600),
  },
  "credentials changed": {
    unreachable:
      "the tests run as root, whom no owner and no mode keeps from reading; a file that may not be read is one that cannot be read, as in the first row",
  },
  "certificate expired or replaced": { unreachable: "a file has none" },
  "clock wrong": {
    how: "its time of change is two days ahead, and does not change with an edit",
    cause({ lab }) {
      const ahead = new Date(Date.now() + 2 * 86_400_000);
      writeFileSync(lab.registry, `${readFileSync(lab.registry, "utf8")}# edited\n`);
      utimesSync(lab.registry, ahead, ahead);
    },
    cure: ({ lab }) => utimesSync(lab.registry, new Date(), new Date()),
    end: "nothing has to be done: the content is compared, and no time is",
  },
};

describeEdges({
  dependency: "Registry, a file",
  async start() {
    const world = await start();
    const text = readFileSync(world.lab.registry, "utf8");
    writeFileSync(world.lab.registry, text.replace(/( +)state:/, "$1generation: 2\n$1state:"));
    return world;
  },
  cells,
  sample: [],
});
