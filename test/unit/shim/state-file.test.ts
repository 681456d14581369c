// The contract of the StateFile port, kept by the file and by the fake.
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createStateFile } from "@claviger/shim/src/state-file.ts";
import { stateFileContract } from "../../contracts/state-file.ts";
import { createFakeStateFile, silent } from "./fakes.ts";

stateFileContract("the fake state file", () => {
  let clock = Date.now;
  const fake = createFakeStateFile(undefined, () => clock());
  return {
    open(now) {
      clock = now;
      return fake;
    },
    protect() {
      fake.isProtected = true;
    },
    stop() {},
  };
});

stateFileContract("a state file on the disk", () => {
  const dir = mkdtempSync(join(tmpdir(), "claviger-"));
  const file = join(dir, "state");
  return {
    open: (now) => createStateFile(file, "prod", silent, now),
    // What is written next to it cannot be: a folder has its name. Permissions do not stop root.
    protect: () => mkdirSync(`${file}.tmp`),
    stop: () => rmSync(dir, { recursive: true, force: true }),
  };
});
