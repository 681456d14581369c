// The manual of the services: what each prints for --help, and a page for its configuration from the
// tables of docs/reference/settings.md.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { bold, manualPage, paragraph, section, term, verbatim } from "./roff.ts";
import type { Service } from "./service.ts";
import { root, type Source } from "./source.ts";

/** Markdown as a page has it: no marks, and of a link its text. */
function plain(markdown: string): string {
  return markdown
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replaceAll(/[`*]/g, "")
    .replaceAll(String.raw`\|`, "|");
}

/** The rows below a heading, up to the next one of its rank: text and tables. */
function configurationOf(heading: string): readonly string[] {
  const page = readFileSync(join(root, "docs", "reference", "settings.md"), "utf8");
  const body = page.split(`\n## ${heading}\n`)[1]?.split("\n## ")[0];
  if (body === undefined) throw new Error(`docs/reference/settings.md has no section ${heading}`);
  return body
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("|---") && !line.startsWith("| setting |"))
    .map((line) => {
      const cells = line.startsWith("| ")
        ? line
            .slice(2, -2)
            .split(/ (?<!\\)\| /)
            .map(plain)
        : [];
      if (line.startsWith("### ")) return `.SS ${line.slice(4)}`;
      const [name, value, fallback, meaning] = cells;
      if (name === undefined || meaning === undefined) return `.PP\n${paragraph(plain(line))}`;
      if (name.startsWith("--")) return term(name, `${value}: ${meaning}`);
      return term(name, `${meaning}\nValue: ${value}. Default: ${fallback}.`);
    });
}

/**
 * Manual pages of a service, by file name.
 * @param script its bundle
 */
export function serviceManual(
  { name, summary }: Service,
  script: string,
  { version, epoch }: Source,
): Readonly<Record<string, string>> {
  const help = execFileSync(process.execPath, [script, "--help"], { encoding: "utf8" });
  const file = `${name.replace("claviger-", "")}.yaml`;
  const common = { version, epoch } as const;
  return {
    [`${name}.8`]: manualPage({ ...common, name, chapter: 8, purpose: summary }, [
      section("synopsis", verbatim(help.split("\n\n")[0] ?? "")),
      section("description", verbatim(help.split("\n\n").slice(1).join("\n\n"))),
      section("files", term(`/etc/claviger/${file}`, `The configuration: ${name}.yaml(5).`)),
      section("see also", `${bold(`${name}.yaml`)}(5),\n${bold("claviger")}(1)`),
    ]),
    [`${name}.yaml.5`]: manualPage(
      { ...common, name: `${name}.yaml`, chapter: 5, purpose: `configuration of ${name}` },
      [
        section(
          "description",
          paragraph(
            `/etc/claviger/${file}. Unknown keys are refused, and every problem of the file is reported at once.`,
          ),
        ),
        section("settings", ...configurationOf(file)),
        section("see also", `${bold(name)}(8)`),
      ],
    ),
  };
}
