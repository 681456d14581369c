// Makes the console's pages: one script and one style sheet, their names of their content, and the page that names
// them. The fleet service serves the directory as it is.
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, extname, join, relative } from "node:path";
import { build } from "esbuild";

const source = join(import.meta.dirname, "..", "gateway", "console");
/** Stands in index.html where script and style sheet go. */
const place = "<!-- assets -->";

function tagOf(file: string): string {
  const name = `/assets/${basename(file)}`;
  if (extname(file) === ".css") return `<link rel="stylesheet" href="${name}">`;
  return `<script type="module" src="${name}"></script>`;
}

/**
 * @param outdir is emptied first
 * @returns the files that went into it, by their paths from the root of the repository
 */
export async function buildConsole(outdir: string): Promise<readonly string[]> {
  rmSync(outdir, { recursive: true, force: true });
  mkdirSync(outdir, { recursive: true });
  const { metafile } = await build({
    absWorkingDir: source,
    entryPoints: ["src/main.tsx"],
    entryNames: "[name]-[hash]",
    assetNames: "[name]-[hash]",
    chunkNames: "[name]-[hash]",
    outdir: join(outdir, "assets"),
    bundle: true,
    platform: "browser",
    format: "esm",
    target: "es2022",
    minify: true,
    legalComments: "linked",
    jsx: "automatic",
    jsxImportSource: "preact",
    loader: { ".svg": "file", ".woff2": "file" },
    metafile: true,
  });
  const files = Object.keys(metafile.outputs).filter((file) => /\/main-[^/]+\.(?:js|css)$/.test(file));
  const tags = files.toSorted().map(tagOf).join("\n    ");
  const page = readFileSync(join(source, "index.html"), "utf8");
  if (!page.includes(place)) throw new Error(`gateway/console/index.html lacks ${place}`);
  writeFileSync(
    join(outdir, "index.html"),
    page.replace(place, () => tags),
  );
  cpSync(join(source, "public"), outdir, { recursive: true });
  return Object.keys(metafile.inputs).map((input) => relative(join(source, "..", ".."), join(source, input)));
}
