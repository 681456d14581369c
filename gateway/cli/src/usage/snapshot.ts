// Reads a snapshot file, as `etcdctl snapshot save`, k3s and RKE2 make it: a bbolt file and its
// SHA-256. In its bucket `key` stands each revision of each key; what counts is the last one.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { fromBinary } from "@bufbuild/protobuf";
import { type KeyValue, KeyValueSchema } from "@claviger/proto/gen/etcd/rpc_pb.ts";
import { CliError } from "../commander.ts";
import { fileProblem } from "@claviger/proto/runtime/file-problem.ts";
import { BboltError, readBucket } from "./bbolt.ts";
import type { Entry } from "./etcd.ts";
import type { Progress } from "./progress.ts";

/** Main revision (8 bytes), `_`, sub-revision (8 bytes); a `t` behind it marks a deletion. */
const revisionLength = 17;
const tombstone = "t".charCodeAt(0);
const checksumLength = 32;
/** etcd's own test for a checksum: pages are multiples of it. */
const checksumUnit = 512;

const otherFiles: readonly (readonly [start: string, what: string])[] = [
  ["PK\u0003\u0004", "it is a zip archive: unpack it first (unzip)"],
  ["\u001f\u008b", "it is compressed: unpack it first (gunzip)"],
  ["SQLite format 3\0", "it is a database of kine (k3s on SQLite), not a snapshot of an etcd"],
];

function isRevision(key: Buffer): boolean {
  return key.length === revisionLength || (key.length === revisionLength + 1 && key.at(-1) === tombstone);
}

/** @throws CliError when the file is not what etcdctl wrote, whole */
async function assertWhole(name: string, file: FileHandle): Promise<void> {
  const fail = (why: string): CliError => new CliError(`${name} cannot be read: ${why}`);
  const { size } = await file.stat();
  const start = Buffer.alloc(16);
  await file.read(start, 0, start.length, 0);
  const other = otherFiles.find(([mark]) => start.toString("latin1").startsWith(mark));
  if (other !== undefined) throw fail(other[1]);
  // Without it, nothing says whether a copy of a database that was in use is whole.
  if (size % checksumUnit !== checksumLength)
    throw fail(
      "it does not end in a checksum, so it is cut off, or a copy of member/snap/db; use what 'etcdctl snapshot save' made",
    );
  const hash = createHash("sha256");
  const body = createReadStream("", { fd: file.fd, autoClose: false, start: 0, end: size - checksumLength - 1 });
  for await (const part of body) hash.update(part as Buffer);
  const trailer = Buffer.alloc(checksumLength);
  await file.read(trailer, 0, checksumLength, size - checksumLength);
  if (!hash.digest().equals(trailer)) throw fail("its checksum is not right: it is damaged");
}

function parseEntry(value: Buffer): KeyValue {
  try {
    return fromBinary(KeyValueSchema, value, { readUnknownFields: false });
  } catch {
    throw new BboltError("an entry that does not parse");
  }
}

/**
 * Every entry under a prefix, as of the snapshot's last revision.
 * @throws CliError when it cannot be read to the end
 */
export async function* readSnapshot({
  path,
  prefix,
  onProgress,
}: {
  readonly path: string;
  readonly prefix: string;
  readonly onProgress: Progress;
}): AsyncGenerator<Entry> {
  const name = `the snapshot ${path}`;
  const start = Buffer.from(prefix);
  let file: FileHandle | undefined;
  try {
    file = await open(path);
    await assertWhole(name, file);
    // Twice: which revision of a key is its last is known at the end only, and the values of all
    // are too many to keep.
    const last = new Map<string, string>();
    let read = 0;
    for await (const { key, value } of readBucket(file, "key")) {
      onProgress(name, ++read);
      if (!isRevision(key)) throw new BboltError("a revision of another form");
      const { key: etcdKey } = parseEntry(value);
      if (!start.equals(etcdKey.subarray(0, start.length))) continue;
      const id = Buffer.from(etcdKey).toString("latin1");
      if (key.length > revisionLength) last.delete(id);
      else last.set(id, key.toString("latin1"));
    }
    const total = read;
    read = 0;
    for await (const { key, value } of readBucket(file, "key")) {
      onProgress(`${name}, values`, ++read, total);
      const { key: etcdKey, value: stored } = parseEntry(value);
      if (last.get(Buffer.from(etcdKey).toString("latin1")) !== key.toString("latin1")) continue;
      yield { key: Buffer.from(etcdKey).toString(), value: Buffer.from(stored) };
    }
  } catch (error) {
    if (error instanceof BboltError) throw new CliError(`${name} cannot be read: ${error.message}`);
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined || error instanceof CliError) throw error;
    throw new CliError(`${name} cannot be read (${fileProblem(error)})`);
  } finally {
    await file?.close();
  }
}
