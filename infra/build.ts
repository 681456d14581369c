// `npm run build`: one file each for shim, gateway, fleet service and CLI, with everything from npm inside, and a
// list of what is in it; and the pages of the console. Not an image: infra/image/rootfs.ts puts a bundle and the Node.js binary
// together for one, and infra/release makes what is shipped.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { build } from "esbuild";
import { buildConsole } from "./console.ts";
import { nodeGuard } from "./node-guard.ts";

const root = join(import.meta.dirname, "..");

/** What is bundled, and where it begins. */
export const entryPoints = {
  "claviger-shim": "shim/src/main.ts",
  "claviger-gateway": "gateway/server/src/main.ts",
  "claviger-fleet": "gateway/fleet/src/main.ts",
  claviger: "gateway/cli/src/main.ts",
} as const;
export type Program = keyof typeof entryPoints;

/** The npm packages that inputs of a bundle are of, as package-lock.json names them: `proto/node_modules/a`. */
export function placesOf(inputs: readonly string[]): readonly string[] {
  const places = inputs.flatMap((input) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(input)?.[0] ?? []);
  return [...new Set(places)].toSorted();
}

/**
 * Writes OUTDIR/NAME.mjs, and the comments that have to stay beside it.
 * @param entry of the repository
 * @returns the files that went into it, by their paths from the root of the repository
 */
export async function buildBundle(name: string, entry: string, outdir: string): Promise<readonly string[]> {
  if (!existsSync(join(root, entry))) throw new Error(`${entry} is missing`);
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile: join(outdir, `${name}.mjs`),
    bundle: true,
    platform: "node",
    format: "esm",
    // Syntax that an older Node.js can read as well, so that it comes to the guard in the banner.
    target: "node18",
    // Names stay, so that a stack trace can be read; the compile cache makes up for the size.
    minifySyntax: true,
    minifyWhitespace: true,
    keepNames: true,
    legalComments: "linked",
    metafile: true,
    // Packages written as CommonJS call require() for Node's own modules.
    banner: {
      js: `import { createRequire as __createRequire } from "node:module"; ${nodeGuard(name)} const require = __createRequire(import.meta.url);`,
    },
  });
  return Object.keys(metafile.inputs);
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { outdir: { type: "string", default: join(root, "dist") }, only: { type: "string", multiple: true } },
  });
  mkdirSync(values.outdir, { recursive: true });
  const isWanted = (name: string): boolean => values.only === undefined || values.only.includes(name);
  for (const [name, entry] of Object.entries(entryPoints)) {
    if (!isWanted(name)) continue;
    const inputs = await buildBundle(name, entry, values.outdir);
    const packages = placesOf(inputs).map((place) => place.replace(/^.*node_modules\//, ""));
    writeFileSync(
      join(values.outdir, `${name}.packages.json`),
      `${JSON.stringify([...new Set(packages)].toSorted(), undefined, 2)}\n`,
    );
  }
  // The fleet service serves it from beside its bundle.
  if (isWanted("claviger-fleet")) await buildConsole(join(values.outdir, "console"));
}
