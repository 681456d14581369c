// `npm run build`: one file each for shim, gateway, fleet service and CLI, with everything from npm inside, and a
// list of what is in it; and the pages of the console. Not an image: infra/image/rootfs.ts puts a bundle and the Node.js binary
// together for one.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { build } from "esbuild";
import { buildConsole } from "./console.ts";
import { nodeGuard } from "./node-guard.ts";

const root = join(import.meta.dirname, "..");
const programs = {
  "claviger-shim": "shim/src/main.ts",
  "claviger-gateway": "gateway/server/src/main.ts",
  "claviger-fleet": "gateway/fleet/src/main.ts",
  claviger: "gateway/cli/src/main.ts",
} as const;

const { values } = parseArgs({
  options: { outdir: { type: "string", default: join(root, "dist") }, only: { type: "string", multiple: true } },
});
mkdirSync(values.outdir, { recursive: true });
for (const [name, entry] of Object.entries(programs)) {
  if (values.only !== undefined && !values.only.includes(name)) continue;
  if (!existsSync(join(root, entry))) throw new Error(`${entry} is missing`);
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile: join(values.outdir, `${name}.mjs`),
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
  const packages = new Set(
    Object.keys(metafile.inputs).flatMap((input) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1] ?? []),
  );
  writeFileSync(
    join(values.outdir, `${name}.packages.json`),
    `${JSON.stringify([...packages].toSorted(), undefined, 2)}\n`,
  );
}
// The fleet service serves it from beside its bundle.
if (values.only === undefined || values.only.includes("claviger-fleet"))
  await buildConsole(join(values.outdir, "console"));
