// The only audit sink is a file: what is not recorded is not answered.
import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { grace } from "./cell.ts";
import { type KmsWorld, startKmsWorld } from "./kms-world.ts";
import { type Cells, describeEdges } from "./suite.ts";

const start = (): Promise<KmsWorld> => startKmsWorld({ backend: "embedded", redis: false });

const fileOf = ({ lab }: KmsWorld): string => lab.gateways[0]?.audit ?? "";
const withheld = { Status: [grace], Encrypt: ["audit_unavailable"], Decrypt: ["audit_unavailable"] };
/** Something else stands at its path; the file itself comes back. */
function replaced(by: (file: string) => void) {
  return {
    cause(world: KmsWorld): void {
      const file = fileOf(world);
      by(`${file}.new`);
      renameSync(file, `${file}.1`);
      renameSync(`${file}.new`, file);
    },
    cure: (world: KmsWorld): void => {
      const file = fileOf(world);
      rmSync(file, { recursive: true, force: true });
      renameSync(`${file}.1`, file);
    },
  };
}
const late = ["audit_unavailable", "deadline_exceeded"];
const onlyWritten = "nothing but the end of the file is read, at the start";

const cells: Cells<KmsWorld> = {
  absent: {
    how: "its directory is removed",
    cause: (world) => renameSync(dirname(fileOf(world)), `${dirname(fileOf(world))}.away`),
    cure: (world) => renameSync(`${dirname(fileOf(world))}.away`, dirname(fileOf(world))),
    callers: withheld,
  },
  slow: {
    unreachable:
      "a write is waited for until it takes longer than 1 s, as in the next row: test/unit/gateway/core/audit has both with a clock",
  },
  silent: {
    how: "writing to it never ends (a pipe that nobody reads is in its place)",
    ...replaced((file) => execFileSync("mkfifo", [file])),
    cure(world) {
      const file = fileOf(world);
      const pipe = openSync(file, constants.O_RDWR | constants.O_NONBLOCK);
      rmSync(file);
      renameSync(`${file}.1`, file);
      closeSync(pipe);
    },
    callers: { Status: [grace], Encrypt: late, Decrypt: late },
  },
  closing: {
    how: "it is cut off while it is written to (`copytruncate`)",
    cause: (world) => truncateSync(fileOf(world)),
    cure() {},
    end: "nothing has to be done: what the last 10 s wrote is written again",
  },
  "refusing everything": {
    how: "a directory is in its place",
    ...replaced((file) => mkdirSync(file)),
    callers: withheld,
  },
  "refusing one operation": { unreachable: "appending is all that is asked of it" },
  "answering from an older state": {
    how: "an older copy of it is put in its place",
    cause(world) {
      const file = fileOf(world);
      const text = readFileSync(file);
      writeFileSync(`${file}.new`, text.subarray(0, text.lastIndexOf(10, text.length / 2) + 1));
      renameSync(`${file}.new`, file);
    },
    cure() {},
    end: "nothing has to be done; `claviger audit verify` names what is missing",
  },
  "answering nonsense": {
    how: "somebody writes bytes into it that are no record",
    cause: (world) => appendFileSync(fileOf(world), Buffer.from([0xff, 0x00, 0x0a])),
    cure() {},
    end: "nothing has to be done; `claviger audit verify` names the line",
  },
  "answering for somebody else": {
    how: "another gateway's file is put in its place",
    ...replaced((file) =>
      writeFileSync(file, `{"time":"2026-01-01T00:00:00.000Z","sequence":1,"method":"chainStart"}\n`),
    ),
    end: "nothing has to be done; `claviger audit verify` names what does not fit",
  },
  full: { how: "its disk is full", ...replaced((file) => symlinkSync("/dev/full", file)), callers: withheld },
  "read-only": {
    how: "its directory is mounted read-only, and it is opened anew (SIGHUP)",
    cause(world) {
      const dir = dirname(fileOf(world));
      execFileSync("mount", ["--bind", dir, dir]);
      execFileSync("mount", ["-o", "remount,ro,bind", dir]);
      process.kill(world.programs[0]?.proc().pid ?? Number.NaN, "SIGHUP");
    },
    cure: (world) => void execFileSync("umount", [dirname(fileOf(world))]),
    callers: withheld,
  },
  "credentials changed": {
    unreachable:
      "the tests run as root, whom no owner and no mode keeps from writing; a file that may not be written is one that cannot be written, as in the row before",
  },
  "certificate expired or replaced": { unreachable: "a file has none" },
  "clock wrong": { unreachable: `${onlyWritten}, and no time is taken from it` },
};

describeEdges({ dependency: "Audit sink, a file", start, cells, sample: [] });
