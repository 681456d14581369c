// That the generator of docs/reference finds what is there, and refuses what has no description.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { z, zDuration, zInteger } from "@claviger/proto/runtime/config.ts";
import { eventsOf } from "../../../docs/generate/log-events.ts";
import { Gap } from "../../../docs/generate/markdown.ts";
import { settingsTable } from "../../../docs/generate/schema.ts";

function rowsOf(table: string): readonly string[] {
  return table.split("\n").slice(2);
}

suite("The settings in the reference", () => {
  const one = z.strictObject({ port: zInteger(1, 9), wait: z._default(zDuration("1s", "1h"), 90_000) });

  test("have the type, the bounds and the default of the schema, and the comment above the key", () => {
    const source = "strictObject({ /** The port. */ port: a, /** How long. */ wait: b })";
    assert.deepEqual(rowsOf(settingsTable(one, { "a.ts": source })), [
      "| `port` | whole number, 1 to 9 | required | The port. |",
      "| `wait` | a duration, from 1s to 1h | `90s` | How long. |",
    ]);
  });

  test("of which one has no comment are refused, also when another object has that key", () => {
    const source = "strictObject({ /** The port. */ port: a, wait: b }); other({ /** Not this. */ wait: c })";
    assert.throws(
      () => settingsTable(one, { "a.ts": source }),
      (error) => error instanceof Gap && error.message.startsWith("wait: "),
    );
  });

  test("whose comment could be one of two are refused", () => {
    const source = "x({ /** One. */ port: a, /** W. */ wait: b }); y({ /** Two. */ port: a, wait: b })";
    assert.throws(() => settingsTable(one, { "a.ts": source }), /two comments compete/);
  });

  test("of a union name the kinds that they belong to", () => {
    const either = z.strictObject({
      sink: z.discriminatedUnion("kind", [
        z.strictObject({ kind: z.literal("a"), path: z.string(), size: z.optional(zInteger(1, 2)) }),
        z.strictObject({ kind: z.literal("b"), path: z.string() }),
      ]),
    });
    const source = `x({ /** A. */ kind: literal("a"), /** Where. */ path: s, /** Size. */ size: i });
      y({ /** B. */ kind: literal("b"), /** Where. */ path: s })`;
    assert.deepEqual(rowsOf(settingsTable(either, { "a.ts": source })), [
      "| `sink.kind` | `a` | required | A. |",
      "| `sink.path` | text | required | Where. |",
      "| `sink.size` (a) | whole number, 1 to 2 | none | Size. |",
      "| `sink.kind` | `b` | required | B. |",
    ]);
  });
});

suite("The log events in the reference", () => {
  const found = (source: string) => eventsOf("a.ts", source, "gateway");

  test("are found with level, fields and message, whatever way the log is called", () => {
    const source = `const name = { backend: b, key };
      log?.warn({ event: "one", ...name, err: error }, "first");
      log[isLoud ? "warn" : "debug"]({ event: "two" }, "second");
      catalog.info("not a log");`;
    assert.deepEqual(found(source), [
      { event: "one", component: "gateway", levels: ["warn"], fields: ["backend", "key", "err"], message: "first" },
      { event: "two", component: "gateway", levels: ["debug", "warn"], fields: [], message: "second" },
    ]);
  });

  test("without an event or with a message that is not written out are refused", () => {
    for (const call of ['log.info({ a }, "text")', 'log.info({ event: "x" }, text)', 'log.info("text")'])
      assert.throws(() => found(call), Gap);
  });
});
