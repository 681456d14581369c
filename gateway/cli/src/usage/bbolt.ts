// Reads one bucket of a bbolt file from its first key to its last, page by page. The format as bbolt
// documents it (https://github.com/etcd-io/bbolt, internal/common/page.go, meta.go, bucket.go):
// little endian, as every platform that Kubernetes runs on but s390x writes it.
import type { FileHandle } from "node:fs/promises";

/** It is no bbolt file, or a damaged one. */
export class BboltError extends Error {
  override readonly name = "BboltError";
}

/** A key and its value; both are views that are good until the next one is asked for. */
export type BboltItem = { readonly key: Buffer; readonly value: Buffer };

const pageHeader = 16;
const element = 16;
const bucketHeader = 16;
const flags = { branch: 0x01, leaf: 0x02, meta: 0x04 } as const;
const isBucket = 0x01;
const magic = 0xed0cdaed;
const version = 2;
const metaLength = 64;
const metaChecksumAt = 56;
const pageSizes = [1024, 2048, 4096, 8192, 16_384, 32_768, 65_536] as const;

type Meta = { readonly pageSize: number; readonly root: bigint; readonly end: bigint; readonly txid: bigint };

/** A walk through a tree of pages. */
type Walk = {
  readonly file: FileHandle;
  readonly meta: Meta;
  /** Pages of the file, whatever it says of itself. */
  readonly pages: bigint;
  /** Pages seen so far: a tree has none twice. */
  seen: bigint;
};

/** FNV-1a, 64 bits. */
function fnv(bytes: Uint8Array): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of bytes) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash;
}

function parseMeta(bytes: Buffer): Meta | undefined {
  if (bytes.length < metaLength || bytes.readUInt32LE(0) !== magic || bytes.readUInt32LE(4) !== version)
    return undefined;
  if (bytes.readBigUInt64LE(metaChecksumAt) !== fnv(bytes.subarray(0, metaChecksumAt))) return undefined;
  const pageSize = bytes.readUInt32LE(8);
  if (!(pageSizes as readonly number[]).includes(pageSize)) return undefined;
  return {
    pageSize,
    root: bytes.readBigUInt64LE(16),
    end: bytes.readBigUInt64LE(40),
    txid: bytes.readBigUInt64LE(48),
  };
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  const { bytesRead } = await file.read(bytes, 0, length, position);
  return bytes.subarray(0, bytesRead);
}

/** The newer of the two meta pages. The second one stands behind the first, whose size may be lost. */
async function readMeta(file: FileHandle): Promise<Meta> {
  const places = [0, ...pageSizes];
  const found = await Promise.all(places.map(async (at) => parseMeta(await readAt(file, at + pageHeader, metaLength))));
  const metas = found.filter((meta, i) => meta !== undefined && (i === 0 || places[i] === meta.pageSize));
  const [newest] = metas.flatMap((meta) => meta ?? []).toSorted((a, b) => Number(b.txid - a.txid));
  if (newest === undefined) throw new BboltError("it has no meta page");
  return newest;
}

/** One page with its overflow pages. */
async function readPage({ file, meta: { pageSize, end }, pages }: Walk, id: bigint): Promise<Buffer> {
  if (id >= end || id >= pages) throw new BboltError(`page ${id} is outside of the file`);
  const position = Number(id) * pageSize;
  const head = await readAt(file, position, pageSize);
  const length = head.length < pageHeader ? 0 : (head.readUInt32LE(12) + 1) * pageSize;
  if (length === 0 || head.readBigUInt64LE(0) !== id || BigInt(length / pageSize) + id > pages)
    throw new BboltError(`page ${id} is damaged`);
  if (length === pageSize && head.length === pageSize) return head;
  const rest = await readAt(file, position + pageSize, length - pageSize);
  if (head.length + rest.length !== length) throw new BboltError(`page ${id} is cut off`);
  return Buffer.concat([head, rest]);
}

function slice(page: Buffer, start: number, length: number): Buffer {
  if (start + length > page.length) throw new BboltError("an entry reaches over the end of its page");
  return page.subarray(start, start + length);
}

function countOf(page: Buffer): number {
  if (page.length < pageHeader) throw new BboltError("a page is cut off");
  const count = page.readUInt16LE(10);
  if (pageHeader + count * element > page.length) throw new BboltError("a page has more entries than it has room for");
  return count;
}

function* leafItems(page: Buffer): Generator<BboltItem & { readonly isBucket: boolean }> {
  for (let i = 0; i < countOf(page); i++) {
    const at = pageHeader + i * element;
    const [start, keyLength, valueLength] = [
      at + page.readUInt32LE(at + 4),
      page.readUInt32LE(at + 8),
      page.readUInt32LE(at + 12),
    ];
    yield {
      isBucket: (page.readUInt32LE(at) & isBucket) !== 0,
      key: slice(page, start, keyLength),
      value: slice(page, start + keyLength, valueLength),
    };
  }
}

async function* walk(tree: Walk, id: bigint): AsyncGenerator<Buffer> {
  tree.seen += 1n;
  if (tree.seen > tree.pages) throw new BboltError("its pages form a loop");
  const page = await readPage(tree, id);
  const kind = page.readUInt16LE(8);
  if (kind === flags.leaf) yield page;
  else if (kind === flags.branch)
    for (let i = 0; i < countOf(page); i++) yield* walk(tree, page.readBigUInt64LE(pageHeader + i * element + 8));
  else throw new BboltError(`page ${id} is neither a leaf nor a branch`);
}

/**
 * Every item of a bucket at the top, in the order of the keys.
 * @throws BboltError; the system's error when the file cannot be read
 */
export async function* readBucket(file: FileHandle, name: string): AsyncGenerator<BboltItem> {
  const meta = await readMeta(file);
  const pages = BigInt(Math.floor((await file.stat()).size / meta.pageSize));
  const tree = (): Walk => ({ file, meta, pages, seen: 0n });
  for await (const page of walk(tree(), meta.root))
    for (const { key, value, isBucket: bucket } of leafItems(page)) {
      if (!bucket || key.toString() !== name) continue;
      if (value.length < bucketHeader) throw new BboltError(`bucket ${name} is damaged`);
      const root = value.readBigUInt64LE(0);
      // A small bucket has no pages of its own: one stands behind its header.
      if (root === 0n) yield* leafItems(value.subarray(bucketHeader));
      else for await (const leaf of walk(tree(), root)) yield* leafItems(leaf);
      return;
    }
  throw new BboltError(`it has no bucket '${name}'`);
}
