import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { objectsOf, tokensOf } from "../../../docs/generate/source.ts";

function keysOf(text: string): readonly (readonly string[])[] {
  return objectsOf(text).map((members) => members.map(({ name }) => name));
}

suite("The scanner of the reference", () => {
  test("finds the keys of nested objects, and the comment above each", () => {
    const text = `const schema = object({
      /** The first. */
      a: int(1, { max: 2 }),
      // not this one
      b: optional(object({
        /**
         * Two
         * lines.
         */
        c,
      })),
    });`;
    const [outer, bounds, inner] = objectsOf(text);
    assert.deepEqual(
      outer?.map(({ name, doc }) => [name, doc]),
      [
        ["a", "The first."],
        ["b", undefined],
      ],
    );
    assert.deepEqual(
      bounds?.map(({ name }) => name),
      ["max"],
    );
    assert.deepEqual(
      inner?.map(({ name, doc }) => [name, doc]),
      [["c", "Two lines."]],
    );
  });

  test("is not misled by braces and quotes in strings, templates and regular expressions", () => {
    const text = 'const x = { a: \'}\', b: `{${ { y: `}` }.y }`, c: /[}"/]{2}/, d: 4 / 2 / 1, e: "\\"}" };';
    assert.deepEqual(keysOf(text)[0], ["a", "b", "c", "d", "e"]);
  });

  test("reads object types, whose members end in semicolons", () => {
    assert.deepEqual(keysOf("type T = { readonly a?: Map<string, number>; /** B. */ readonly b: string };"), [
      ["a", "b"],
    ]);
  });

  test("names what is spread", () => {
    assert.deepEqual(keysOf("log({ event: 'x', ...name, err: error });"), [["event", "...name", "err"]]);
  });

  test("refuses a text whose bracket or template does not end", () => {
    assert.throws(() => objectsOf("f({ a: 1"), /without an end/);
    assert.throws(() => tokensOf("`abc"), /without an end/);
  });
});
