// docs/reference/audit-fields.md: the types of an audit record and the comments above their fields.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { code, Gap, page, table } from "./markdown.ts";
import { membersOf, tokensOf } from "./source.ts";

const file = "gateway/core/src/audit/record.ts";

/** In the order of the page: what a type describes, and what stands before its table. */
const types: Readonly<Record<string, string>> = {
  AuditEntry: "## Of every record",
  CallEntry:
    "## Of a call\n\nA record of one call has these fields itself (its `uid` stands in `uids`). A record of a batch has them in each entry of `calls`.",
  ChainPlace: "## Of the chain\n\nThese fields stand at the end of each line.",
  ChainHead: "### `earlier` and `head`\n\nA record of a chain, named by another one.",
  SignedHead: "`head` has beside these",
};

const intro = `Audit records are lines of JSON, one for each request. A field that has nothing to say is absent. Plaintexts, ciphertexts and tokens are never in a record. [Architecture](../architecture.md#audit) says when a record counts as taken.`;

/** The members of a type that the file declares. */
function fieldsOf(type: string, tokens: ReturnType<typeof tokensOf>) {
  const at = tokens.findIndex(({ text }, i) => text === type && tokens[i - 1]?.text === "type");
  const open = tokens.findIndex(({ text }, i) => i > at && text === "{");
  if (at === -1 || open === -1) throw new Gap(`${file} declares no type ${type}`);
  return membersOf(tokens, open);
}

export function auditPage(): string {
  const tokens = tokensOf(readFileSync(join(import.meta.dirname, "..", "..", file), "utf8"));
  const sections = Object.entries(types).map(([type, text]) => {
    const rows = fieldsOf(type, tokens).map(({ name, doc }) => {
      if (doc === undefined) throw new Gap(`${type}.${name} has no comment in ${file}`);
      // chainLine writes the time of arrival as text.
      return name === "at" ? [code("time"), "When the request arrived, ISO 8601 in UTC"] : [code(name), doc];
    });
    return `${text}\n\n${table(["field", "what"], rows)}`;
  });
  return page("Audit fields", intro, sections);
}
