// The programs of a release: each one file, the npm packages that are inside it, and their licences.
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { buildBundle, entryPoints, placesOf } from "../build.ts";
import { buildConsole } from "../console.ts";
import { type LockedPackage, lockedPackage } from "./locked.ts";
import { root } from "./source.ts";
import { file, type Entry } from "./tar.ts";

export const programs = { ...entryPoints, "kms-conformance": "test/conformance/main.ts" } as const;
export type Program = keyof typeof programs;

export type Bundle = {
  readonly name: Program;
  /** The script, and what it needs beside it, with paths from where it stands. */
  readonly entries: readonly Entry[];
  readonly packages: readonly LockedPackage[];
  /** Of all packages, as a text for whoever gets the bundle. */
  readonly licences: string;
};

function licenceText(place: string): string {
  const folder = join(root, place);
  const [name] = readdirSync(folder)
    .filter((each) => /^(?:licen[cs]e|copying)(?:\.|$)/i.test(each))
    .toSorted();
  return name === undefined
    ? "(The package has no file with the text.)"
    : readFileSync(join(folder, name), "utf8").trim();
}

function filesBelow(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted();
}

/** @param scratch a directory that it may write to */
export async function makeBundle(name: Program, scratch: string): Promise<Bundle> {
  const outdir = join(scratch, name);
  mkdirSync(outdir, { recursive: true });
  const inputs = [
    ...(await buildBundle(name, programs[name], outdir)),
    ...(name === "claviger-fleet" ? await buildConsole(join(outdir, "console")) : []),
  ];
  const places = placesOf(inputs);
  if (places.some((place) => !existsSync(join(root, place))))
    throw new Error("node_modules is not this checkout's own");
  // Some are installed in several places.
  const found = new Map(
    places.map((place) => {
      const locked = lockedPackage(place);
      return [`${locked.name}@${locked.version}`, { place, locked }] as const;
    }),
  );
  const packages = [...found.values()].map(({ locked }) => locked);
  const licences = [...found].map(
    ([id, { place, locked }]) => `${id} (${locked.licences.join(" or ")})\n\n${licenceText(place)}\n`,
  );
  const entries = filesBelow(outdir).map((path) => {
    const content = readFileSync(path);
    // What starts it names the Node.js: the first line of a script would name another one.
    const isScript = content.subarray(0, 2).toString() === "#!";
    return file(path.slice(outdir.length + 1), isScript ? content.subarray(content.indexOf("\n") + 1) : content);
  });
  return { name, entries, packages, licences: licences.join(`\n${"-".repeat(72)}\n`) };
}
