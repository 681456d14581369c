// How docs/setup.md is read by the test that follows it: no block goes unread, and an output that
// differs is seen.
import assert from "node:assert/strict";
import { test } from "node:test";
import { isExpected } from "../../real/setup/expected.ts";
import { parsePage } from "../../real/setup/page.ts";

function page(...blocks: readonly (readonly [info: string, text: string])[]): string {
  return `# Title\n${blocks.map(([info, text]) => `\n\`\`\`${info}\n${text}\n\`\`\`\n`).join("")}`;
}

test("each block is a step, in order, with what it prints", () => {
  const [section] = parsePage(
    `${page(["sh", "one"], ["text", "1"], ["sh fails", "two"], ["sh on node", "three"])}<!-- check five -->\n`,
  );
  assert.deepEqual(
    section?.steps.map((step) => [step.kind, step.line]),
    [
      ["run", 3],
      ["run", 11],
      ["machine", 15],
      ["check", 18],
    ],
  );
  assert.deepEqual(section.steps[0], {
    kind: "run",
    fails: false,
    script: "one\n",
    output: { line: 7, text: "1\n" },
    line: 3,
  });
});

for (const [what, text] of [
  ["a block of another language", page(["console", "$ rm"])],
  ["a block without any info", page(["", "rm"])],
  ["an info word too many", page(["sh fails twice", "rm"])],
  ["an output that nothing prints", page(["text", "1"])],
  ["a second output", page(["sh", "one"], ["text", "1"], ["text", "2"])],
  ["a file that nobody writes", page(["yaml a.yaml", "a"])],
  ["a block that is indented", "# Title\n  ```sh\n  rm\n  ```\n"],
  ["a block without an end", "# Title\n```sh\nrm\n"],
] as const)
  test(`${what} is an error`, () => {
    assert.throws(() => parsePage(text), /line \d+: /);
  });

test("times, uids, key_ids, releases and columns may differ, and nothing else", () => {
  const wanted = "a  01JD9Z6X3QK8V5T7W2M4N6P8RA  2026-11-26T12:31:52.000Z  0.1.0  8.5 ms\nkey_id clv1.ab_c";
  const printed = "a     01JD9Z6X3QK8V5T7W2M4N6P8RB  2027-01-01T00:00:00Z  1.2.3  9 ms\nkey_id clv1.x-y\n";
  assert.ok(isExpected(printed, wanted));
  for (const other of ["a", `${wanted}\nmore`, wanted.replace("a ", "b "), wanted.replace("01JD", "11JD")])
    assert.ok(!isExpected(other, wanted), other);
});

test("… stands for any text of a line, and alone for any lines", () => {
  assert.ok(isExpected("one\ntwo\nthree", "…\nthree"));
  assert.ok(isExpected("one", "…\none"));
  assert.ok(isExpected("one two three", "one … three"));
  for (const [printed, wanted] of [
    ["one\ntwo", "…\none"],
    ["one two", "one … three"],
    ["one\ntwo\nthree", "one\nthree"],
    ["", "…\none"],
  ] as const)
    assert.ok(!isExpected(printed, wanted), wanted);
});
