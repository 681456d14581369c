// docs/reference/doctor.md: every check of `claviger doctor`, from its catalog.
import { catalog, parts } from "@claviger/cli/src/doctor/catalog.ts";
import { code, page, table } from "./markdown.ts";

const intro = `What each check of \`claviger doctor\` looks at. An id stays for as long as there is such a check; [doctor.md](../doctor.md) says how to run it and how its output reads.`;

/** The page. */
export function doctorPage(): string {
  return page(
    "Checks of claviger doctor",
    intro,
    parts.flatMap((part) => {
      const rows = Object.entries(catalog[part]).map(([id, { what }]) => [code(id), what]);
      return rows.length === 0 ? [] : [`## ${part}`, table(["check", "what it looks at"], rows)];
    }),
  );
}
