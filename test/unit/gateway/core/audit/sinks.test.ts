// The contract of the AuditSink port, kept by files, by descriptors and by the fake.
import { closeSync, openSync } from "node:fs";
import { mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createFileSink } from "@claviger/gateway-core/src/audit/file-sink.ts";
import { createOutputSink } from "@claviger/gateway-core/src/audit/sinks.ts";
import { type SinkWorld, sinkContract } from "../../../../contracts/audit-sink.ts";
import { createFakeSink, fullDisk } from "./fakes.ts";

const everything = { reopen: true, last: true, comesBack: true };

sinkContract(
  "the fake sink",
  () => {
    const sink = createFakeSink();
    const turn = (before: typeof sink.before) => {
      sink.before = before;
      return Promise.resolve();
    };
    return Promise.resolve({
      sink,
      read: () => Promise.resolve(sink.lines.map((line) => `${line}\n`).join("")),
      broken: { breakIt: () => turn(fullDisk), mend: () => turn(() => {}) },
      stop: () => Promise.resolve(),
    });
  },
  { ...everything, reopen: false },
);

for (const fsync of [true, false])
  sinkContract(
    `a file, ${fsync ? "with" : "without"} fsync`,
    async (): Promise<SinkWorld> => {
      const dir = await mkdtemp(join(tmpdir(), "claviger-"));
      const path = join(dir, "audit.log");
      const away = `${dir}-away`;
      return {
        sink: createFileSink({ path, fsync }),
        read: () => readFile(path, "utf8"),
        broken: { breakIt: () => rename(dir, away), mend: () => rename(away, dir) },
        stop: () => rm(dir, { recursive: true, force: true }),
      };
    },
    everything,
  );

sinkContract(
  "a descriptor",
  async (): Promise<SinkWorld> => {
    const dir = await mkdtemp(join(tmpdir(), "claviger-"));
    const path = join(dir, "output");
    const fd = openSync(path, "a");
    return {
      sink: createOutputSink("stdout", fd),
      read: () => readFile(path, "utf8"),
      async stop() {
        closeSync(fd);
        await rm(dir, { recursive: true, force: true });
      },
    };
  },
  { reopen: false, last: false, comesBack: false },
);
