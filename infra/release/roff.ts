// Manual pages in the man macros of roff (man(7)): what a text needs so that it is read as text.

/** Text within a line. */
export function escaped(text: string): string {
  return text
    .replaceAll("\\", String.raw`\e`)
    .replaceAll("-", String.raw`\-`)
    .replaceAll("'", String.raw`\(aq`)
    .replaceAll("`", String.raw`\(ga`)
    .replaceAll("^", String.raw`\(ha`)
    .replaceAll("~", String.raw`\(ti`)
    .replaceAll("…", "...")
    .replaceAll("→", String.raw`\(->`);
}

/** Text of its own: a line that begins with a dot would be a macro. */
export function paragraph(text: string): string {
  return text
    .trim()
    .split("\n")
    .map((line) => escaped(line.trim()).replace(/^\./, String.raw`\&.`))
    .join("\n");
}

export function bold(text: string): string {
  return String.raw`\fB${escaped(text)}\fR`;
}

/** A term and what it means. */
export function term(name: string, meaning: string): string {
  return `.TP\n${bold(name)}\n${paragraph(meaning) || String.raw`\&`}`;
}

export function section(title: string, ...lines: readonly string[]): string {
  return [`.SH ${escaped(title.toUpperCase())}`, ...lines].join("\n");
}

/** Lines as they stand. */
export function verbatim(text: string): string {
  const lines = text.trimEnd().split("\n");
  return [".PP", ".nf", ...lines.map((line) => escaped(line).replace(/^\./, String.raw`\&.`)), ".fi"].join("\n");
}

/**
 * A page.
 * @param epoch seconds since 1970: its date
 */
export function manualPage(
  {
    name,
    chapter,
    purpose,
    version,
    epoch,
  }: {
    readonly name: string;
    readonly chapter: 1 | 5 | 8;
    readonly purpose: string;
    readonly version: string;
    readonly epoch: number;
  },
  sections: readonly string[],
): string {
  const date = new Date(epoch * 1000).toISOString().slice(0, 10);
  const title = escaped(name.toUpperCase());
  return `${[
    `.TH "${title}" "${chapter}" "${date}" "Claviger ${escaped(version)}" "Claviger"`,
    ".nh",
    ".ad l",
    section("name", `${escaped(name)} ${String.raw`\-`} ${escaped(purpose)}`),
    ...sections,
  ].join("\n")}\n`;
}
