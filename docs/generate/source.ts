// Reads TypeScript as far as the reference needs it: object literals, their keys and the comment
// above each. A scanner, not a parser: it knows strings, templates, comments and brackets.

type Token = { readonly kind: "word" | "string" | "template" | "regex" | "doc" | "punct"; readonly text: string };

const patterns: readonly (readonly [Token["kind"] | "skip", RegExp])[] = [
  ["skip", /\s+|\/\/[^\n]*|\/\*(?!\*)[\s\S]*?\*\//y],
  ["doc", /\/\*\*[\s\S]*?\*\//y],
  ["string", /"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'/y],
  ["word", /[A-Za-z_$#][\w$]*|\d[\w.]*/y],
];
const regex = /\/(?:\[(?:[^\]\\\n]|\\.)*\]|[^/\\\n[]|\\.)+\/[a-z]*/y;

/** The end of a template literal that begins at `start`; braces inside `${}` may nest. */
function templateEnd(text: string, start: number): number {
  let depth = 0;
  for (let at = start + 1; at < text.length; at++) {
    const char = text[at];
    if (char === "\\") at++;
    else if (char === "`" && depth === 0) return at + 1;
    else if (char === "`") at = templateEnd(text, at) - 1;
    else if (char === "{" && (depth > 0 || text[at - 1] === "$")) depth++;
    else if (char === "}" && depth > 0) depth--;
  }
  throw new Error("a template literal without an end");
}

/** The tokens of a source text; comments other than `/**` are left out. */
export function tokensOf(text: string): readonly Token[] {
  const tokens: Token[] = [];
  let at = 0;
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    return pattern.exec(text)?.[0];
  };
  const mayBeRegex = (): boolean => {
    const last = tokens.findLast(({ kind }) => kind !== "doc");
    return last === undefined || last.text === "return" || (last.kind === "punct" && !/[)\]}]/.test(last.text));
  };
  scan: while (at < text.length) {
    for (const [kind, pattern] of patterns) {
      const found = take(pattern);
      if (found === undefined) continue;
      if (kind !== "skip") tokens.push({ kind, text: found });
      at += found.length;
      continue scan;
    }
    const literal = text[at] === "/" && mayBeRegex() ? take(regex) : undefined;
    const end = text[at] === "`" ? templateEnd(text, at) : at + (literal?.length ?? 1);
    const kind = text[at] === "`" ? "template" : literal === undefined ? "punct" : "regex";
    tokens.push({ kind, text: text.slice(at, end) });
    at = end;
  }
  return tokens;
}

/** One key of an object literal or an object type. */
export type Member = {
  /** The key; for a spread, what is spread, after three dots. */
  readonly name: string;
  /** The `/**` comment above it, as one line; undefined when there is none. */
  readonly doc: string | undefined;
  /** What stands after the colon; empty for a shorthand. */
  readonly value: readonly Token[];
};

function plainDoc(comment: string): string {
  return comment
    .slice(3, -2)
    .split("\n")
    .map((line) => line.replace(/^\s*\*?\s?/, "").trim())
    .filter((line) => line !== "")
    .join(" ");
}

/** The index of the bracket that closes the one at `open`. */
export function closing(tokens: readonly Token[], open: number): number {
  let depth = 0;
  for (let at = open; at < tokens.length; at++) {
    const { kind, text } = tokens[at] ?? { kind: "punct", text: "" };
    if (kind !== "punct") continue;
    if ("([{".includes(text)) depth++;
    if (")]}".includes(text) && --depth === 0) return at;
  }
  throw new Error("a bracket without an end");
}

/** The members between the braces at `open`; what does not look like one is left out. */
export function membersOf(tokens: readonly Token[], open: number): readonly Member[] {
  const members: Member[] = [];
  const end = closing(tokens, open);
  let entry: Token[] = [];
  const flush = (): void => {
    const start = entry.findIndex(({ kind }) => kind !== "doc");
    const doc = entry.slice(0, start).at(-1);
    const [first, ...rest] = entry.filter(({ kind, text }) => kind !== "doc" && text !== "readonly");
    entry = [];
    if (first === undefined) return;
    const about = doc === undefined ? undefined : plainDoc(doc.text);
    if (first.text === ".") {
      members.push({
        name: `...${rest
          .map(({ text }) => text)
          .join("")
          .replace(/^\.+/, "")}`,
        doc: about,
        value: [],
      });
      return;
    }
    const colon = rest[0]?.text === "?" ? 1 : 0;
    if (first.kind !== "word" && first.kind !== "string") return;
    const name = first.kind === "string" ? first.text.slice(1, -1) : first.text;
    if (rest.length === 0) members.push({ name, doc: about, value: [] });
    else if (rest[colon]?.text === ":") members.push({ name, doc: about, value: rest.slice(colon + 1) });
  };
  for (let at = open + 1; at < end; at++) {
    const token = tokens[at];
    if (token === undefined) break;
    if (token.kind === "punct" && /[,;]/.test(token.text)) flush();
    else if (token.kind === "punct" && "([{".includes(token.text)) {
      const close = closing(tokens, at);
      entry.push(...tokens.slice(at, close + 1));
      at = close;
    } else entry.push(token);
  }
  flush();
  return members;
}

/** Every pair of braces in a text, read as an object. */
export function objectsOf(text: string): readonly (readonly Member[])[] {
  const tokens = tokensOf(text);
  return tokens.flatMap(({ kind, text: brace }, at) =>
    kind === "punct" && brace === "{" ? [membersOf(tokens, at)] : [],
  );
}
