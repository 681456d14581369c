// Cuts a registry's text into the pieces of its records, so that after an edit only what has changed is
// read again. (docs/architecture.md #registry.)
import { acceptRenamed, checkConfig, parseYaml, z } from "@claviger/proto/runtime/config.ts";
import { parsePlainYaml } from "./plain-yaml.ts";

/** One record as its source has it. Two pieces of one text hold one record. */
export type Piece = {
  readonly text: string;
  /** Where it stands, for messages. */
  readonly at: string;
  /** Its value. @throws ConfigError when the text is no YAML */
  readonly read: () => unknown;
};

// Records are checked one by one: a bad one holds up no other.
const form = "must be the mapping 'clusters:' with a list of clusters; while there is none yet, 'clusters: []'";
const registryFile = z.strictObject(
  { clusters: z.array(z.unknown(), { error: "must be a list; while there is no cluster yet, 'clusters: []'" }) },
  { error: form },
);

/** Fields of a record that had another name in 0.1.0. */
const renamedFields = { former: "previousKeys" } as const;

/** A record's value with its fields under the names of now. */
export function withCurrentNames(record: unknown, warn: (line: string) => void): unknown {
  return acceptRenamed(record, renamedFields, "clusters.", warn);
}

/** The pieces of a value `{ clusters: [...] }`. @throws ConfigError when it is another one */
export function piecesOfValue(source: string, value: unknown): readonly Piece[] {
  const { clusters } = checkConfig(source, value, registryFile);
  return clusters.map((record, i) => ({
    text: JSON.stringify(record),
    at: `clusters.${i}`,
    read: () => record,
  }));
}

/** Where in a text each record of a list in block style begins; undefined for a text of another form. */
function cutsOf(text: string): readonly number[] | undefined {
  const head = /^(?:[ \t]*(?:#[^\n]*)?\r?\n)*clusters:[ \t]*(?:#[^\n]*)?\r?\n/.exec(text)?.[0];
  if (head === undefined) return undefined;
  const cuts: number[] = [];
  let indent = -1;
  for (let at = head.length; at < text.length; ) {
    const end = text.indexOf("\n", at);
    let first = at;
    while (text[first] === " ") first += 1;
    const character = text[first];
    if (character === "\t") return undefined;
    if (character !== "\n" && character !== "\r" && character !== "#" && character !== undefined) {
      const isItem = character === "-" && /[ \r\n]/.test(text[first + 1] ?? "\n");
      if (indent === -1 && isItem) indent = first - at;
      if (first - at === indent && isItem) cuts.push(at);
      else if (indent === -1 || first - at <= indent) return undefined;
    }
    if (end === -1) break;
    at = end + 1;
  }
  return cuts.length === 0 ? undefined : [...cuts, text.length];
}

/** The one record of a list of one. */
function readItem(source: string, text: string, linesBefore: () => number): unknown {
  const plain = parsePlainYaml(text);
  const list = plain === undefined ? parseYaml(source, "\n".repeat(linesBefore()) + text) : plain.value;
  return Array.isArray(list) && list.length === 1 ? (list[0] as unknown) : list;
}

/**
 * The pieces of a registry's text.
 * @throws ConfigError when the text as a whole is of no use
 */
export function piecesOfText(source: string, text: string): readonly Piece[] {
  const cuts = cutsOf(text);
  // Flow style, as JSON is, and what is no list of records at all.
  if (cuts === undefined) return piecesOfValue(source, parseJson(text) ?? parseYaml(source, text));
  return cuts.slice(0, -1).map((start, i) => {
    const piece = text.slice(start, cuts[i + 1]);
    const linesBefore = (): number => text.slice(0, start).split("\n").length - 1;
    return { text: piece, at: `clusters.${i}`, read: () => readItem(source, piece, linesBefore) };
  });
}

/** JSON is YAML, but for keys that stand twice, which JSON.parse takes: of those it is not sure. */
function parseJson(text: string): unknown {
  if (!text.trimStart().startsWith("{")) return undefined;
  try {
    const value = JSON.parse(text) as unknown;
    return JSON.stringify(value).length === text.replaceAll(/\s/g, "").length ? value : undefined;
  } catch {
    return undefined;
  }
}
