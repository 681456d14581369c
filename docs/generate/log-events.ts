// docs/reference/log-events.md: every call of the log in the sources of shim and gateway. Each has
// an `event`, and a message that is written out at the call.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { advice } from "./advice.ts";
import { code, Gap, page, table } from "./markdown.ts";
import { closing, type Member, membersOf, objectsOf, tokensOf } from "./source.ts";

const root = join(import.meta.dirname, "..", "..");
const places: Readonly<Record<string, string>> = {
  "gateway/core/src": "gateway",
  "gateway/server/src": "gateway",
  "gateway/fleet/src": "fleet",
  "shim/src": "shim",
  "proto/runtime": "both",
};

type LogEvent = {
  readonly event: string;
  readonly component: string;
  readonly levels: readonly string[];
  readonly fields: readonly string[];
  readonly message: string;
};

type Tokens = ReturnType<typeof tokensOf>;

const levels = ["debug", "info", "warn", "error"] as const;

function textOf(tokens: Tokens): string {
  return tokens.map(({ text }) => text).join("");
}

/** The names of an object's keys; a spread is looked up among the constants of the file. */
function fieldsOf(members: readonly Member[], source: string, path: string): readonly string[] {
  return members.flatMap(({ name }) => {
    if (!name.startsWith("...")) return name === "event" ? [] : [name];
    const [, own] = new RegExp(`const ${name.slice(3)} = (\\{[^}]*\\});`).exec(source) ?? [];
    if (own === undefined) throw new Gap(`${path}: the log spreads ${name}, which is no constant of the file`);
    return objectsOf(own)[0]?.map((member) => member.name) ?? [];
  });
}

/** The calls of a log in one file. @throws Gap for one without an event or a message written out */
export function eventsOf(path: string, source: string, component: string): readonly LogEvent[] {
  const tokens = tokensOf(source);
  return tokens.flatMap(({ kind, text }, at) => {
    if (kind !== "word" || !/^(?:log|ownLog)$/.test(text)) return [];
    // `log.warn(`, `log?.warn(` or `log[a ? "debug" : "warn"](`
    const open = tokens.findIndex((token, i) => i > at && token.text === "(");
    const callee = tokens.slice(at + 1, open);
    const isCall = /^\??\.(?:debug|info|warn|error)$/.test(textOf(callee)) || callee[0]?.text === "[";
    const found = levels.filter((level) => callee.some((token) => token.text.replaceAll('"', "") === level));
    if (!isCall || found.length === 0) return [];
    const end = closing(tokens, open);
    if (tokens[open + 1]?.text !== "{") throw new Gap(`${path}: a log call without fields`);
    const objectEnd = closing(tokens, open + 1);
    const members = membersOf(tokens, open + 1);
    const event = members.find(({ name }) => name === "event")?.value[0];
    const rest = tokens.slice(objectEnd + 1, end).filter((token) => token.text !== ",");
    if (event?.kind !== "string") throw new Gap(`${path}: a log call without an event that is written out`);
    if (rest.length !== 1 || rest[0]?.kind !== "string")
      throw new Gap(`${path}: ${event.text} has no message that is written out`);
    return [
      {
        event: event.text.slice(1, -1),
        component,
        levels: found,
        fields: fieldsOf(members, source, path),
        message: rest[0].text.slice(1, -1),
      },
    ];
  });
}

const levelOfNumber: Readonly<Record<string, string>> = { "20": "debug", "30": "info", "40": "warn", "50": "error" };
/** What every line has. */
const common = new Set(["event", "msg", "level", "time", "component"]);

/** Lines that are written without the log: objects with an `event` and a `msg`. */
function writtenLinesOf(source: string, component: string): readonly LogEvent[] {
  return objectsOf(source).flatMap((members) => {
    const [event, message, level] = ["event", "msg", "level"].map(
      (key) => members.find(({ name }) => name === key)?.value[0]?.text ?? "",
    );
    if (event?.startsWith('"') !== true || message?.startsWith('"') !== true) return [];
    const fields = members.map(({ name }) => name).filter((name) => !common.has(name));
    const found = [levelOfNumber[level ?? ""] ?? ""];
    return [{ event: event.slice(1, -1), component, levels: found, fields, message: message.slice(1, -1) }];
  });
}

function unique(values: readonly string[]): readonly string[] {
  return [...new Set(values)];
}

/** One row for each event, whatever the number of places that log it. */
function rowOf(event: string, calls: readonly LogEvent[]): readonly string[] {
  const loud = calls.some((call) => call.levels.some((level) => level === "warn" || level === "error"));
  const todo = advice[event];
  if (loud && todo === undefined) throw new Gap(`docs/generate/advice.ts does not say what to do about ${event}`);
  return [
    code(event),
    unique(calls.map(({ component }) => component)).join(", "),
    unique(calls.flatMap((call) => call.levels)).join(", "),
    unique(calls.flatMap(({ fields }) => fields))
      .map(code)
      .join(", "),
    unique(calls.map(({ message }) => message)).join("; "),
    todo ?? "",
  ];
}

const intro = `Shim and gateway log lines of JSON on standard error. Each line has \`level\` (20 debug, 30 info, 40 warn, 50 error), \`time\` (ISO 8601), \`component\` (\`gateway\` or \`shim\`), \`event\`, the fields of the event and \`msg\`. Alert on \`event\`,
not on the text. \`err\` is an error's name, reason and message with those of its causes. No token, plaintext or ciphertext is logged. Requests are in the [audit log](audit-fields.md).`;

export function logEventsPage(): string {
  const calls = Object.entries(places).flatMap(([place, component]) =>
    readdirSync(join(root, place), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .toSorted()
      .flatMap((name) => {
        const path = join(place, name);
        const source = readFileSync(join(root, path), "utf8");
        return [...eventsOf(path, source, component), ...writtenLinesOf(source, component)];
      }),
  );
  if (calls.length < 30) throw new Gap(`only ${calls.length} calls of a log were found`);
  const events = unique(calls.map(({ event }) => event)).toSorted();
  for (const event of Object.keys(advice))
    if (!events.includes(event)) throw new Gap(`docs/generate/advice.ts knows ${event}, which nothing logs`);
  const rows = events.map((event) =>
    rowOf(
      event,
      calls.filter((call) => call.event === event),
    ),
  );
  return page("Log events", intro, [table(["event", "component", "level", "fields", "message", "what to do"], rows)]);
}
