// Makes gen/ from schema/ with buf and protobuf-es, both from the npm registry. `--check` writes
// nothing and fails on a difference.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const here = import.meta.dirname;
const bin = join(here, "..", "node_modules", ".bin");

function generate(out: string): void {
  const template = {
    version: "v2",
    plugins: [{ local: join(bin, "protoc-gen-es"), out, opt: ["target=ts", "import_extension=ts"] }],
  };
  execFileSync(join(bin, "buf"), ["generate", "--clean", "--template", JSON.stringify(template)], {
    cwd: here,
    stdio: "inherit",
  });
}

function read(dir: string): Map<string, string> {
  const files = readdirSync(dir, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
  return new Map(files.toSorted().map((name) => [name, readFileSync(join(dir, name), "utf8")]));
}

if (process.argv[2] === "--check") {
  const fresh = mkdtempSync(join(tmpdir(), "claviger-gen-"));
  try {
    generate(fresh);
    const [want, have] = [read(fresh), read(join(here, "gen"))];
    const stale = [...new Set([...want.keys(), ...have.keys()])].filter((name) => want.get(name) !== have.get(name));
    if (want.size === 0 || stale.length > 0) {
      console.error(
        `proto/gen is not what schema/ generates: ${stale.join(", ")}. Run 'npm run generate' and commit the result.`,
      );
      process.exitCode = 1;
    }
  } finally {
    rmSync(fresh, { recursive: true });
  }
} else {
  generate(join(here, "gen"));
}
