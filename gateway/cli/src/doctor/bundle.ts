// A bundle for whoever helps: what doctor found, versions, settings without secrets, and what the program that runs
// says of itself. The only file that imports nanotar.
import { rmSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { createTarGzip } from "nanotar";
import { isTree, parseYaml } from "@claviger/proto/runtime/config.ts";
import { fileProblem } from "@claviger/proto/runtime/file-problem.ts";
import { CliError } from "../commander.ts";
import { localUrl } from "../target.ts";
import { readChecked } from "./files.ts";
import { createRedactor } from "./redact.ts";

const askMs = 3000;

/** A file of settings, and its name in the bundle. */
export type Settings = {
  readonly name: string;
  readonly file: string;
  /** Of the second listener, where the file may leave it out. */
  readonly port?: number;
};

type Item = { readonly name: string; readonly data: string };

function json(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

function readSettings(file: string): unknown {
  try {
    return parseYaml(file, readChecked(file));
  } catch {
    // It has a row.
    return undefined;
  }
}

/** The second listener that settings name: `health` of a shim, `admin` of the others. */
function listenerIn(settings: unknown, usual: number | undefined): URL | undefined {
  if (!isTree(settings)) return undefined;
  const { health, admin } = settings;
  const named = isTree(health) ? health : isTree(admin) ? admin : {};
  const { address = "127.0.0.1", port = usual } = named;
  return typeof address === "string" && typeof port === "number" && port > 0 ? localUrl({ address, port }) : undefined;
}

/** A file that is new, for its owner alone; nothing is left of one that could not be written. */
function write(file: string, bytes: Uint8Array): void {
  try {
    writeFileSync(file, bytes, { mode: 0o600, flag: "wx" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") rmSync(file, { force: true });
    throw new CliError(`--bundle ${file} cannot be written (${fileProblem(error)})`);
  }
}

async function ask(url: URL, path: string): Promise<string> {
  try {
    return await (await fetch(new URL(path, url), { signal: AbortSignal.timeout(askMs) })).text();
  } catch {
    return "it does not answer\n";
  }
}

/**
 * Writes the bundle, for its owner alone.
 * @param report as `-o json` has it
 * @param program `version` of this command
 * @throws CliError where the file is there already or cannot be written
 */
export async function writeBundle(
  file: string,
  {
    report,
    version,
    settings,
  }: { readonly report: unknown; readonly version: string; readonly settings: readonly Settings[] },
): Promise<void> {
  const redactor = createRedactor();
  const trees = settings.map(({ name, file: path, port }) => {
    const tree = readSettings(path);
    return { name, url: listenerIn(tree, port), tree: redactor.settings(tree) };
  });
  const url = trees.flatMap((one) => one.url ?? [])[0];
  const items: readonly Item[] = [
    { name: "doctor.json", data: json(report) },
    { name: "versions.json", data: json({ claviger: version, kernel: release() }) },
    ...trees.flatMap(({ name, tree }) => (tree === undefined ? [] : [{ name, data: json(tree) }])),
    ...(url === undefined
      ? []
      : [
          { name: "metrics.txt", data: await ask(url, "/metrics") },
          { name: "readyz.json", data: await ask(url, "/readyz") },
        ]),
  ];
  const bytes = await createTarGzip(
    items.map(({ name, data }) => ({ name: `claviger-doctor/${name}`, data: redactor.text(data) })),
  );
  write(file, bytes);
}
