// The registry that a command reads and edits: the YAML file, or the document in Vault with the
// operator's own credentials. (docs/architecture.md #registry.)
import { existsSync } from "node:fs";
import { readFile, realpath, stat, writeFile } from "node:fs/promises";
import { parseYaml } from "@claviger/proto/runtime/config.ts";
import type { Documents } from "../../backend/port.ts";
import { writeFileAtomically } from "@claviger/proto/runtime/atomic-file.ts";
import { documentOf, sourceOf, type VaultRegistryConfig } from "../vault.ts";
import { EditError, tooLate } from "./error.ts";
import { removedUidsOfFile } from "../removed-uids.ts";
import { type RemovedUids, removedUidsFile } from "./removed.ts";
import { codeOf, fileProblem } from "@claviger/proto/runtime/file-problem.ts";

/** The text as it was read, and a way to replace it that loses no other edit. */
export type RegistryText = {
  readonly text: string;
  /** @throws EditError when it was changed meanwhile; nothing is written then */
  readonly write: (changed: string) => Promise<void>;
};

export type RegistrySource = {
  /** What messages call it. */
  readonly name: string;
  /** The backends that the gateways know. */
  readonly backends: Pick<ReadonlySet<string>, "has">;
  readonly removed: RemovedUids;
  /**
   * YAML.
   * @param missing what a registry that is not there yet is: an error, or one without clusters that
   * the first write makes
   * @throws EditError
   */
  readonly read: (missing?: "error" | "empty") => Promise<RegistryText>;
};

/** @throws EditError */
export async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new EditError(
      codeOf(error) === "ENOENT"
        ? `there is no registry ${file} yet: 'claviger cluster add' makes it`
        : `the registry ${file} cannot be read (${fileProblem(error)})`,
    );
  }
}

const empty = "clusters: []\n";

/** Makes a file that is not there, for everybody to read: there is no secret in a registry. */
export async function makeFile(file: string, text: string): Promise<void> {
  await writeFile(file, text, { flag: "wx", mode: 0o644 }).catch((error: unknown) => {
    throw codeOf(error) === "EEXIST"
      ? tooLate(file)
      : new EditError(`the registry ${file} cannot be made (${fileProblem(error)})`);
  });
}

/**
 * Replaces a file that holds this text; its owner and mode stay: it is the gateways' to read, whoever
 * edits it.
 * @param called what messages call it
 */
export async function replaceFile(target: string, text: string, changed: string, called = target): Promise<void> {
  const { mode, uid, gid } = await stat(target);
  if ((await readText(target)) !== text) throw tooLate(called);
  await writeFileAtomically(target, changed, mode & 0o777, true, { uid, gid }).catch((error: unknown) => {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw new EditError(
      code === "EPERM"
        ? `the registry ${called} belongs to user ${uid}, group ${gid}, and you may not give it to them: run this with sudo, or as that user; nothing was changed`
        : `the registry ${called} cannot be written (${fileProblem(error)}); nothing was changed`,
    );
  });
}

export function fileSource({
  file,
  backends,
}: {
  readonly file: string;
  readonly backends: Pick<ReadonlySet<string>, "has">;
}): RegistrySource {
  return {
    name: file,
    backends,
    removed: removedUidsFile(() => removedUidsOfFile(file)),
    async read(missing = "error") {
      if (missing === "empty" && !existsSync(file)) return { text: empty, write: (changed) => makeFile(file, changed) };
      // Behind a symlink, as in a ConfigMap's folder, it is the target that is replaced.
      const target = await realpath(file).catch(() => file);
      const text = await readText(target);
      return {
        text,
        write: (changed) => replaceFile(target, text, changed, file),
      };
    },
  };
}

const callMs = 10_000;

/**
 * @param withDocuments opens the backend's documents for the time of a call
 * @param announce tells the gateways that there is something to read; may fail in silence
 */
export function vaultSource({
  config,
  backends,
  withDocuments,
  announce,
  removed,
  toYaml,
}: {
  readonly config: VaultRegistryConfig;
  readonly backends: Pick<ReadonlySet<string>, "has">;
  readonly withDocuments: <T>(use: (documents: Documents) => Promise<T>) => Promise<T>;
  readonly announce: () => Promise<void>;
  readonly removed: RemovedUids;
  readonly toYaml: (data: unknown) => string;
}): RegistrySource {
  const at = documentOf(config);
  const name = sourceOf(config);
  return {
    name,
    backends,
    removed,
    async read() {
      const found = await withDocuments((documents) => documents.readDocument(at, AbortSignal.timeout(callMs)));
      return {
        text: toYaml(found?.data ?? { clusters: [] }),
        async write(changed) {
          const data = parseYaml(name, changed) as Readonly<Record<string, unknown>>;
          const isWritten = await withDocuments((documents) =>
            documents.writeDocument(at, data, found?.version ?? 0, AbortSignal.timeout(callMs)),
          );
          if (!isWritten) throw tooLate(name);
          await announce();
        },
      };
    },
  };
}
