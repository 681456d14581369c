import assert from "node:assert/strict";
import { test } from "node:test";
import { parsePlainYaml } from "@claviger/gateway-core/src/registry/plain-yaml.ts";
import { parseYaml } from "@claviger/proto/runtime/config.ts";

const records = [
  "- name: a\n  uid: 01JD9Z6X3QK8V5T7W2M4N6P8RA\n  keys: [{ backend: main, mount: t/x, key: k.1 }]\n  limits: { requestsPerSecond: 5 }\n",
  '- name: "b"   # the second\n  # a comment\n  generation: 3\n  keys:\n    - backend: main\n      mount: t\n  previousKeys:\n  - key: b\n    mount: d\n  issuer: sha256:00ab\n',
  "  - { name: lab, state: active, previousKeys: [] }\n",
];

test("records as people and the commands write them are plain, and are read as YAML reads them", () => {
  for (const text of records) assert.deepEqual(parsePlainYaml(text)?.value, parseYaml("t", text), text);
});

test("what YAML gives another type or another meaning is not plain", () => {
  const values = [
    "1e3",
    "01",
    "0x1",
    "1.5",
    "true",
    "NULL",
    "~",
    "'a'",
    "|",
    "&a b",
    "*a",
    "!t a",
    "a: b",
    "[a",
    "",
    '"a\\n"',
  ];
  for (const value of values) assert.equal(parsePlainYaml(`- name: ${value}\n`), undefined, value);
  for (const text of [
    "- a: b\n  a: c\n",
    "- a: b\n c: d\n",
    "-\n  a: b\n",
    "---\n- a: b\n",
    "- a: b\n\tc: d\n",
    "? a\n",
  ])
    assert.equal(parsePlainYaml(text), undefined, JSON.stringify(text));
});

/** The same numbers each time: mulberry32. */
function createRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const bits =
  "a|b: |- |\n|  |    | |{|}|[|]|, |:|#| #|\"|1|01|1e3|0x1|true|null|~|key: |k:|'|>|&a|*a|!|?|? |---|\t|\r\n|01E9|9A|sha256:ab|a:b|\u00a0"
    .split("|")
    .concat("|");

test("whatever it reads, a YAML parser reads the same", () => {
  const random = createRandom(7);
  const pick = <T>(list: readonly T[]): T => list[random(list.length)] as T;
  let read = 0;
  for (let round = 0; round < 20_000; round += 1) {
    let text = round % 2 === 0 ? pick(records) : "";
    for (let i = round % 2 === 0 ? 1 + random(3) : 1 + random(14); i > 0; i -= 1) {
      const at = random(text.length + 1);
      text = text.slice(0, at) + pick(bits) + text.slice(at + (round % 2 === 0 ? random(3) : 0));
    }
    const plain = parsePlainYaml(text);
    if (plain === undefined) continue;
    read += 1;
    assert.deepEqual(plain.value, parseYaml("t", text), JSON.stringify(text));
  }
  assert.ok(read > 300, String(read));
});
