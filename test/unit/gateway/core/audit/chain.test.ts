// A line of a chain, read back: each field that makes it one of ours, missing or of another kind.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { createChain, lineHash, readLine } from "@claviger/gateway-core/src/audit/chain.ts";
import { entry, key, signedHead } from "./records.ts";

type Fields = Readonly<Record<string, unknown>>;

const chain = createChain(() => undefined);
assert.equal(chain.head(), undefined, "before the first record");
const first = chain.append(entry(1)).trimEnd();
const signed = signedHead(chain);
const { signature: _signature, keyVersion: _keyVersion, ...head } = signed;
const fields = JSON.parse(first) as Fields;
const read = (changed: Fields): ReturnType<typeof readLine> =>
  readLine(Buffer.from(JSON.stringify({ ...fields, ...changed })));

test("a line with and one without a MAC are read, each with its hash", () => {
  const plain = readLine(Buffer.from(first));
  assert.ok(typeof plain === "object");
  assert.deepEqual([plain.record.sequence, plain.record.previous, plain.body], [0, "", undefined]);
  assert.equal(plain.hash, lineHash(first));
  assert.deepEqual([signed.sequence, signed.hash], [0, plain.hash]);
  const line = createChain(() => key)
    .append(entry(2))
    .trimEnd();
  const keyed = readLine(Buffer.from(line));
  assert.ok(typeof keyed === "object");
  assert.equal(keyed.body?.toString(), `${line.slice(0, line.indexOf(',"mac"'))}}`);
});

suite("what is no line of ours", () => {
  const another = [undefined, null, true, 7, "", {}, []];
  const wrong: Readonly<Record<string, readonly unknown[]>> = {
    chain: [...another, "x", `x${String(fields["chain"])}`, `${String(fields["chain"])}x`],
    sequence: [undefined, null, "0", -1, 0.5, Number.MAX_SAFE_INTEGER + 1],
    previous: [undefined, null, 7, {}],
    time: [undefined, null, 7, {}],
    method: [undefined, null, 7, {}],
    head: [
      null,
      "x",
      7,
      head,
      { ...signed, chain: 7 },
      { ...signed, sequence: "0" },
      { ...signed, hash: 7 },
      { ...signed, signature: 7 },
      { ...signed, keyVersion: "1" },
      { ...signed, keyVersion: undefined },
    ],
    earlier: [null, "x", {}, [null], ["x"], [7], [{ ...head, chain: 7 }], [head, { ...head, sequence: 0.5 }], [{}]],
    missing: [null, "x", {}, [7], [[1]], [[1, 2, 3]], [["1", 2]], [[1, 2], [1]], [{ length: 2 }]],
  };
  for (const [field, values] of Object.entries(wrong))
    for (const value of values)
      test(`${field}: ${JSON.stringify(value)}`, () => {
        assert.equal(read({ [field]: value }), "foreign");
      });

  test("fields that may be there, as they may be", () => {
    for (const changed of [
      { head: signed },
      { earlier: [] },
      { earlier: [head, head] },
      { missing: [] },
      {
        missing: [
          [1, 2],
          [4, 4],
        ],
      },
    ])
      assert.equal(typeof read(changed), "object", JSON.stringify(changed));
  });

  test("what is no object of JSON", () => {
    for (const text of ["", "{", first.slice(0, -1), `${first}x`])
      assert.equal(readLine(Buffer.from(text)), "fragment");
    for (const text of ["7", "null", '"x"', "[]", "{}"]) assert.equal(readLine(Buffer.from(text)), "foreign");
  });

  test("a MAC that is not the last field, or has another length, or stands there without being one", () => {
    const mac = "0".repeat(64);
    for (const text of [
      `{"mac":"${mac}",${first.slice(1)}`,
      `${first.slice(0, -1)},"mac":"${mac}0"}`,
      `${first.slice(0, -1)},"mac":"${mac.slice(1)}"}`,
      `${first.slice(0, -1)},"mac":7}`,
    ])
      assert.equal(readLine(Buffer.from(text)), "foreign", text);
    assert.equal(typeof readLine(Buffer.from(`${first.slice(0, -1)},"mac":"${mac}"}`)), "object");
  });
});
