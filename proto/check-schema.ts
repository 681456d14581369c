// Holds schema/ against buf's rules: it is linted, and goes on as those know it who speak it: nothing that stands in
// schema.binpb is removed, renamed or renumbered. `--write`, at a release, takes what is there now into it.
import { execFileSync } from "node:child_process";
import { join } from "node:path";

const here = import.meta.dirname;
const released = "schema.binpb";

function buf(...args: readonly string[]): void {
  execFileSync(join(here, "..", "node_modules", ".bin", "buf"), args, { cwd: here, stdio: "inherit" });
}

try {
  buf("lint");
  // What has to change nevertheless is another package: claviger.fleet.v2.
  buf("breaking", "--against", released);
  if (process.argv[2] === "--write") buf("build", "--exclude-source-info", "-o", released);
} catch {
  process.exitCode = 1;
}
