// Cuts a registry's text into the pieces of its records, so that after an edit only what has changed is
// read again. (docs/architecture.md #registry.)
import { acceptRenamed, checkConfig, parseYaml, z } from "@claviger/proto/runtime/config.ts";
import { parsePlainYaml } from "./plain-yaml.ts";
import type { Work } from "./slices.ts";

/** The records as their source has them. Two pieces of one text hold one record. */
export type Pieces = {
  readonly texts: readonly string[];
  /** The value of the i-th. @throws ConfigError when it is no YAML */
  readonly read: (i: number) => unknown;
  /** Where it stands: messages begin with it. */
  readonly at: (i: number) => string;
  /** The cluster that it is of, where that can be told of a text that cannot be read. */
  readonly nameOf: (i: number) => string | undefined;
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

const inList = (i: number): string => `clusters.${i}.`;

/** The pieces of a value `{ clusters: [...] }`. @throws ConfigError when it is another one */
export function piecesOfValue(source: string, value: unknown): Pieces {
  const { clusters } = checkConfig(source, value, registryFile);
  return {
    texts: clusters.map((record) => JSON.stringify(record)),
    at: inList,
    read: (i) => clusters[i],
    nameOf: () => undefined,
  };
}

/** The name in a record's text, however bad the rest of it is. */
const nameLine = /^[ -]*(?:\{ *)?name: *["']?([a-z0-9-]+)/m;

/** Where in a text each record of a list in block style begins; undefined for a text of another form. */
function* cutsOf(text: string): Work<readonly number[] | undefined> {
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
    yield;
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
export function* piecesOfText(source: string, text: string): Work<Pieces> {
  const cuts = yield* cutsOf(text);
  // Flow style, as JSON is, and what is no list of records at all.
  if (cuts === undefined) return piecesOfValue(source, parseJson(text) ?? parseYaml(source, text));
  const texts = cuts.slice(0, -1).map((start, i) => text.slice(start, cuts[i + 1]));
  const linesBefore = (i: number): number => text.slice(0, cuts[i]).split("\n").length - 1;
  return {
    texts,
    at: inList,
    read: (i) => readItem(source, texts[i] ?? "", () => linesBefore(i)),
    nameOf: (i) => nameLine.exec(texts[i] ?? "")?.[1],
  };
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
