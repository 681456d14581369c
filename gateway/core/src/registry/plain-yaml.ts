// Reads the plain part of YAML in which records are usually written, some twenty times as fast as a
// whole YAML parser: one key to a line, simple names and numbers, lists and mappings in block or flow
// style. What is not surely that is left to the YAML parser. (docs/architecture.md #registry.)

/** Stands for "not plain": null and undefined are no values of the plain part. */
const notPlain = Symbol("not plain");
type Plain = unknown;

// The core schema of YAML 1.2 makes numbers, booleans and null of some words (section 10.3.2).
const word = /^[A-Za-z](?:[A-Za-z0-9._/:-]*[A-Za-z0-9._/-])?$/;
const special = /^(?:true|false|null|~)$/i;
// Begins with a digit and has a letter that no number has.
const digitWord = /^[0-9][0-9A-Z]*[A-DF-Z][0-9A-Z]*$/;
const integer = /^(?:0|[1-9][0-9]{0,8})$/;
const quoted = /^"([A-Za-z0-9 ._:/-]*)"$/;
/** A line up to a quoted value, before a comment. */
const quotedEnd = /^([^"#]*: +"[^"#\\]*") +#/;
const keyName = /^[A-Za-z][A-Za-z0-9]*$/;

function scalar(text: string): Plain {
  if (integer.test(text)) return Number(text);
  if (digitWord.test(text) || (word.test(text) && !special.test(text))) return text;
  return quoted.exec(text)?.[1] ?? notPlain;
}

/** A mapping or list in flow style, which is all of the text. */
function flow(text: string): Plain {
  let at = 0;
  const skip = (): void => {
    while (text[at] === " ") at += 1;
  };
  const token = (): string => {
    const start = at;
    while (at < text.length && !"{}[], ".includes(text[at] ?? "")) at += 1;
    return text.slice(start, at);
  };
  const value = (): Plain => {
    if (text[at] === "{") return mapping();
    if (text[at] === "[") return list();
    return scalar(token());
  };
  /** The parts between the opening bracket and the closing one. */
  const parts = (close: string, part: () => boolean): boolean => {
    at += 1;
    skip();
    if (text[at] === close) {
      at += 1;
      return true;
    }
    for (;;) {
      if (!part()) return false;
      skip();
      const next = text[at];
      at += 1;
      if (next === close) return true;
      if (next !== ",") return false;
      skip();
    }
  };
  const list = (): Plain => {
    const items: Plain[] = [];
    const isWhole = parts("]", () => {
      const item = value();
      items.push(item);
      return item !== notPlain;
    });
    return isWhole ? items : notPlain;
  };
  const mapping = (): Plain => {
    const tree: Record<string, Plain> = {};
    const isWhole = parts("}", () => {
      const key = token();
      if (!key.endsWith(":")) return false;
      skip();
      return put(tree, key.slice(0, -1), value());
    });
    return isWhole ? tree : notPlain;
  };
  const all = value();
  return at === text.length ? all : notPlain;
}

/** False, and nothing is put, for what is not plain and for a key that stands already. */
function put(tree: Record<string, Plain>, key: string, value: Plain): boolean {
  if (value === notPlain || !keyName.test(key) || special.test(key) || Object.hasOwn(tree, key)) return false;
  tree[key] = value;
  return true;
}

type Line = { readonly indent: number; readonly text: string };

/** The lines that say something; undefined where one is not plain. */
function linesOf(text: string): Line[] | undefined {
  const lines: Line[] = [];
  for (const raw of text.split("\n")) {
    let indent = 0;
    while (raw[indent] === " ") indent += 1;
    if (indent === raw.length || raw[indent] === "#") continue;
    const comment = raw.indexOf(" #", indent);
    const end = comment !== -1 && raw.includes('"') ? quotedEnd.exec(raw)?.[1]?.length : comment;
    if (end === undefined) return undefined;
    lines.push({ indent, text: raw.slice(indent, end === -1 ? undefined : end).replace(/[ \t\r]+$/, "") });
  }
  return lines;
}

/** Blocks of lines that are further in than what they belong to. */
function createBlocks(lines: Line[]) {
  let next = 0;
  const block = (indent: number): Plain => (lines[next]?.text.startsWith("- ") ? list(indent) : mapping(indent));
  const list = (indent: number): Plain => {
    const items: Plain[] = [];
    for (let line = lines[next]; line?.indent === indent && line.text.startsWith("- "); line = lines[next]) {
      const rest = line.text.slice(2);
      const first = rest[0];
      if (first === " " || first === "-") return notPlain;
      let item: Plain;
      if (first === "{" || first === "[" || !/^[A-Za-z0-9]+:(?: |$)/.test(rest)) {
        next += 1;
        item = first === "{" || first === "[" ? flow(rest) : scalar(rest);
      } else {
        // The mapping begins behind the dash.
        lines[next] = { indent: indent + 2, text: rest };
        item = mapping(indent + 2);
      }
      if (item === notPlain) return notPlain;
      items.push(item);
    }
    return (lines[next]?.indent ?? -1) > indent ? notPlain : items;
  };
  const valueBelow = (indent: number): Plain => {
    const below = lines[next];
    if (below === undefined) return notPlain;
    if (below.indent > indent) return block(below.indent);
    // A list may stand as far in as its key.
    return below.indent === indent && below.text.startsWith("- ") ? list(indent) : notPlain;
  };
  const mapping = (indent: number): Plain => {
    const tree: Record<string, Plain> = {};
    for (let line = lines[next]; line?.indent === indent && !line.text.startsWith("-"); line = lines[next]) {
      const colon = line.text.indexOf(":");
      const rest = line.text.slice(colon + 1);
      if (colon === -1 || (rest !== "" && rest[0] !== " ")) return notPlain;
      next += 1;
      const text = rest.replace(/^ +/, "");
      const value = text === "" ? valueBelow(indent) : text[0] === "{" || text[0] === "[" ? flow(text) : scalar(text);
      if (!put(tree, line.text.slice(0, colon), value)) return notPlain;
    }
    const isEmpty = Object.keys(tree).length === 0;
    return isEmpty || (lines[next]?.indent ?? -1) > indent ? notPlain : tree;
  };
  return { block, isAtEnd: () => next === lines.length };
}

/**
 * Reads a text of plain YAML.
 * @returns the value in an object, as a YAML parser would give it; undefined for a text that is not
 * surely plain, which may be good all the same
 */
export function parsePlainYaml(text: string): { readonly value: unknown } | undefined {
  const lines = linesOf(text);
  const [first] = lines ?? [];
  if (lines === undefined || first === undefined) return undefined;
  const blocks = createBlocks(lines);
  const value = blocks.block(first.indent);
  return value === notPlain || !blocks.isAtEnd() ? undefined : { value };
}
