// Writes docs/reference/ from the code, and into the code what `claviger init` writes of infra/shim. `--check` writes nothing and fails where a page is not what
// the code says, or where something has no description.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { auditPage } from "./generate/audit.ts";
import { doctorPage } from "./generate/doctor.ts";
import { errorsPage } from "./generate/errors.ts";
import { schemaPages } from "./generate/json-schema.ts";
import { logEventsPage } from "./generate/log-events.ts";
import { Gap } from "./generate/markdown.ts";
import { metricsPage } from "./generate/metrics.ts";
import { settingsPage } from "./generate/settings.ts";
import { shimFilesPath, shimFilesSource } from "./generate/shim-files.ts";

const pages: Readonly<Record<string, () => string | Promise<string>>> = {
  "audit-fields.md": auditPage,
  "doctor.md": doctorPage,
  "errors.md": errorsPage,
  "log-events.md": logEventsPage,
  "metrics.md": metricsPage,
  "settings.md": settingsPage,
  ...schemaPages,
  [shimFilesPath]: shimFilesSource,
};

function problem(text: string): void {
  process.stderr.write(`docs/reference: ${text}\n`);
  process.exitCode = 1;
}

for (const [name, make] of Object.entries(pages)) {
  const file = join(import.meta.dirname, "reference", name);
  try {
    const text = await make();
    if (process.argv[2] !== "--check") writeFileSync(file, text);
    else if (readFileSync(file, "utf8") !== text)
      problem(`${name} is not what the code says. Run 'npm run generate' and commit the result.`);
  } catch (error) {
    if (!(error instanceof Gap)) throw error;
    problem(`${name}: ${error.message}`);
  }
}
