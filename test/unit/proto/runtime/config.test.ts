// What is said of a configuration that has not the form that its schema wants.
import assert from "node:assert/strict";
import { test } from "node:test";
import { checkConfig, parseYaml, z, zDuration, zInteger } from "@claviger/proto/runtime/config.ts";
import { problemsOf } from "../../gateway/problems.ts";

const schema = z.strictObject({
  refresh: z._default(zDuration("100ms", "5m"), 10_000),
  count: z._default(zInteger(1, 9), 1),
  list: z._default(z.array(z.string()), []),
  isOn: z._default(z.boolean(), true),
  level: z._default(z.enum(["info", "warn"]), "info"),
  kind: z.optional(
    z.discriminatedUnion("kind", [
      z.strictObject({ kind: z.literal("file"), file: z.string() }),
      z.strictObject({ kind: z.literal("vault") }),
    ]),
  ),
});

function problems(yaml: string): readonly string[] {
  return problemsOf(() => checkConfig("file", parseYaml("file", yaml), schema));
}

for (const [yaml, ...lines] of [
  ["[]", "(top): must be a mapping (name: value)"],
  ["", "(top): is empty; it must be a mapping (name: value)"],
  ["refresh: 10", "refresh: must be a duration such as 500ms, 10s, 5m or 1h, from 100ms to 5m"],
  ["refresh: 6m", "refresh: must be a duration such as 500ms, 10s, 5m or 1h, from 100ms to 5m"],
  ["count: 10", "count: must be a whole number from 1 to 9"],
  ["list: one\nisOn: yes", "list: must be a list", "isOn: must be true or false"],
  ["list:\n  - 7", "list.0: must be a text"],
  ["list:", "list: is empty; it must be a list"],
  ["level: loud", "level: must be one of info, warn"],
  ["kind: { kind: fil }", "kind.kind: must be one of file, vault"],
  ["kind: { kind: file }", "kind.file: is missing; it must be a text"],
  ["typo: 1", "typo: no such setting"],
] as const)
  test(`${JSON.stringify(yaml)} is refused with the form that is wanted`, () => {
    assert.deepEqual(problems(yaml), lines);
  });

test("what stands in a file is not said on stderr, whatever it looks like", (t) => {
  const warn = t.mock.method(process, "emitWarning", () => {});
  parseYaml("file", "{ secret: canary }: 1\n? [a, b]\n: 2\n");
  assert.equal(warn.mock.callCount(), 0);
});
