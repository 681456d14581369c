// Certificates and keys on disk: `NAME.crt` and `NAME.key`, written whole or not at all; key files
// are 0600.
import { constants } from "node:fs";
import { access, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { Secret } from "@claviger/proto/runtime/secret.ts";
import { FileExistsError, writeFileAtomically } from "@claviger/proto/runtime/atomic-file.ts";
import { type Ca, type KeyPair, parseCa } from "./authority.ts";

/** Where a pair stands. */
export type PairFiles = { readonly cert: string; readonly key: string };

function filesOf(dir: string, name: string): PairFiles {
  return { cert: join(dir, `${name}.crt`), key: join(dir, `${name}.key`) };
}

function exists(file: string): Promise<boolean> {
  return access(file, constants.F_OK).then(
    () => true,
    () => false,
  );
}

/**
 * Writes a pair into a directory (made 0700 if it is missing). An existing pair of leaves is
 * replaced, key first, each file whole.
 * @param overwrite false: both files must be new
 */
export async function writePem({
  dir,
  name,
  pair,
  overwrite = true,
}: {
  readonly dir: string;
  readonly name: string;
  readonly pair: KeyPair;
  readonly overwrite?: boolean;
}): Promise<PairFiles> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const files = filesOf(dir, name);
  if (!overwrite && (await exists(files.cert))) throw new FileExistsError(files.cert);
  await pair.key.use((pem) => writeFileAtomically(files.key, pem, 0o600, overwrite));
  await writeFileAtomically(files.cert, pair.cert, 0o644, overwrite);
  return files;
}

/**
 * Writes `ca.crt` and `ca.key`. Never over an existing authority: every certificate of the fleet
 * would stop to work.
 */
export function writeCa(dir: string, ca: Ca): Promise<PairFiles> {
  return writePem({ dir, name: "ca", pair: ca, overwrite: false });
}

/**
 * Reads `ca.crt` and `ca.key`.
 * @throws TypeError when they are no authority; the system's error when they cannot be read
 */
export async function loadCa(dir: string): Promise<Ca> {
  const { cert, key } = filesOf(dir, "ca");
  return parseCa({ cert: await readFile(cert, "utf8"), key: new Secret(await readFile(key, "utf8")) });
}
