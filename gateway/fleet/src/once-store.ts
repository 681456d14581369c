// Records that can be used once: in a directory, or as documents in a Vault. Which of two callers uses one, the
// store decides, also where they are different replicas. (docs/architecture.md #control-plane.)
import { mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomically } from "@claviger/proto/runtime/atomic-file.ts";
import { parseYaml } from "@claviger/proto/runtime/config.ts";
import { codeOf } from "@claviger/proto/runtime/file-problem.ts";
import type { DocumentRef, Documents } from "@claviger/gateway-core/src/backend/port.ts";

/** Unix seconds. */
export type Once = { readonly expiresAt: number; readonly usedAt?: number | undefined };

/** Errors: those of the file system, or of backends (KmsError). An id is the name of a file and of a document. */
export interface OnceStore<T extends Once> {
  add(id: string, record: T, signal: AbortSignal): Promise<void>;
  /** Undefined where there is none, or none that can be read. */
  read(id: string, signal: AbortSignal): Promise<T | undefined>;
  /** The ids of all, used ones included. */
  list(signal: AbortSignal): Promise<readonly string[]>;
  /**
   * Marks one as used.
   * @param more what is to be known of its use
   * @returns false when that was done before, also at this very moment by another replica
   */
  use(id: string, more: Partial<T> & { readonly usedAt: number }, signal: AbortSignal): Promise<boolean>;
  /** Takes one away, used or not; where there is none nothing is done. */
  remove(id: string, signal: AbortSignal): Promise<void>;
  /** Says more of one; for whoever used it. */
  amend(id: string, more: Partial<T>, signal: AbortSignal): Promise<void>;
}

/** Undefined for what is no record. */
export type Parse<T> = (value: unknown) => T | undefined;

/** A file for each: it is renamed once. For one replica. */
export async function openOnceDirectory<T extends Once>(directory: string, parse: Parse<T>): Promise<OnceStore<T>> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const fresh = (id: string): string => join(directory, `${id}.json`);
  const used = (id: string): string => join(directory, `${id}.used.json`);
  const readOne = async (file: string): Promise<T | undefined> => {
    try {
      return parse(parseYaml(file, await readFile(file, "utf8")));
    } catch (error) {
      if (codeOf(error) === "ENOENT") return undefined;
      throw error;
    }
  };
  const amend = async (id: string, more: Partial<T>): Promise<void> => {
    const record = await readOne(used(id));
    await writeFileAtomically(used(id), `${JSON.stringify({ ...record, ...more })}\n`, 0o600);
  };
  return {
    add: (id, record) => writeFileAtomically(fresh(id), `${JSON.stringify(record)}\n`, 0o600, false),
    async read(id) {
      const found = await readOne(fresh(id));
      if (found !== undefined) return found;
      const earlier = await readOne(used(id));
      // The name of the file says that it is used, whether or not what was to be added got into it.
      return earlier === undefined ? undefined : { ...earlier, usedAt: earlier.usedAt ?? earlier.expiresAt };
    },
    async list() {
      const files = (await readdir(directory)).filter((file) => file.endsWith(".json"));
      return [...new Set(files.map((file) => file.replace(/(?:\.used)?\.json$/, "")))];
    },
    async use(id, more) {
      try {
        await rename(fresh(id), used(id));
      } catch (error) {
        if (codeOf(error) === "ENOENT") return false;
        throw error;
      }
      await amend(id, more);
      return true;
    },
    amend,
    async remove(id) {
      await Promise.all([fresh(id), used(id)].map((file) => rm(file, { force: true })));
    },
  };
}

const attempts = 5;

/** A document for each, under check-and-set. For several replicas. */
export function createOnceDocuments<T extends Once>(
  documents: Documents,
  below: DocumentRef,
  parse: Parse<T>,
): OnceStore<T> {
  const at = (id: string): DocumentRef => ({ ...below, path: `${below.path}/${id}` });
  const read = async (id: string, signal: AbortSignal) => {
    const found = await documents.readDocument(at(id), signal);
    const record = parse(found?.data);
    return found === undefined || record === undefined ? undefined : { record, version: found.version };
  };
  return {
    async add(id, record, signal) {
      if (!(await documents.writeDocument(at(id), record, 0, signal))) throw new TypeError("an id was given twice");
    },
    read: async (id, signal) => (await read(id, signal))?.record,
    list: (signal) => documents.listDocuments(below, signal),
    async use(id, more, signal) {
      const found = await read(id, signal);
      if (found === undefined || found.record.usedAt !== undefined) return false;
      return await documents.writeDocument(at(id), { ...found.record, ...more }, found.version, signal);
    },
    remove: (id, signal) => documents.removeDocument(at(id), signal),
    async amend(id, more, signal) {
      for (let i = 0; i < attempts; i += 1) {
        const found = await read(id, signal);
        if (found === undefined) return;
        if (await documents.writeDocument(at(id), { ...found.record, ...more }, found.version, signal)) return;
      }
    },
  };
}
