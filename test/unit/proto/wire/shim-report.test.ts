// What a shim says of itself: whole and of its form, or nothing.
import assert from "node:assert/strict";
import { test } from "node:test";
import { keyId } from "@claviger/proto/wire/names.ts";
import { formatShimReport, parseShimReport, type ShimReport } from "@claviger/proto/wire/shim-report.ts";
import * as fc from "fast-check";

const key = `clv1.${"a".repeat(43)}`;
const seconds = fc.nat({ max: 999_999_999 });
const outagePhase = fc.constantFrom(1, 2, 3);
const reports: fc.Arbitrary<ShimReport> = fc.record(
  {
    version: fc.stringMatching(/^\d[\w.+-]{0,31}$/),
    phase: fc.constantFrom(0, 1, 2, 3),
    sinceGood: seconds,
    keyId: fc.stringMatching(/^clv1\.[\w-]{43}$/).map((text) => keyId.parse(text)),
    config: fc.stringMatching(/^[0-9a-f]{16}$/),
    lastOutage: fc.record({ phase: outagePhase, lasted: seconds, ago: seconds }, { noNullPrototype: true }),
  },
  { requiredKeys: ["version", "phase"], noNullPrototype: true },
);

test("what is written is read again as it was, and fits a header", () => {
  fc.assert(
    fc.property(reports, (report) => {
      const text = formatShimReport(report);
      assert.ok(text.length <= 200 && /^[\x21-\x7e]+$/.test(text), text);
      assert.deepEqual(parseShimReport(text), report);
    }),
  );
});

test("seconds are whole ones, and never fewer than none", () => {
  const text = formatShimReport({
    version: "0.2.0",
    phase: 2,
    sinceGood: 12.6,
    lastOutage: { phase: 3, lasted: 1e12, ago: -4 },
  });
  assert.equal(text, "version=0.2.0;phase=2;good=13;outage=3:999999999:0");
  assert.equal(parseShimReport(text)?.sinceGood, 13);
});

test("what a later release adds is passed over, in any place", () => {
  const report = { version: "9.0.0", phase: 1 } as const;
  for (const text of ["later=x;version=9.0.0;phase=1", "version=9.0.0;phase=1;uptime=5;os=linux-6.1"])
    assert.deepEqual(parseShimReport(text), report);
});

const good = "version=0.2.0;phase=0";
const wrong: readonly (readonly [what: string, header: unknown])[] = [
  ["nothing", undefined],
  ["an empty text", ""],
  ["two headers", [good, good]],
  ["no version", "phase=0"],
  ["no phase", "version=0.2.0"],
  ["a phase that there is not", "version=0.2.0;phase=4"],
  ["a version of no digits", "version=x;phase=0"],
  ["a version of 33 characters", `version=${"1".repeat(33)};phase=0`],
  ["a name twice", `${good};phase=1`],
  ["seconds below zero", `${good};good=-1`],
  ["seconds of ten digits", `${good};good=1000000000`],
  ["seconds with a fraction", `${good};good=1.5`],
  ["a key_id of another form", `${good};key=clv2.${"a".repeat(43)}`],
  ["a key_id that is cut", `${good};key=${key.slice(0, -1)}`],
  ["a hash in upper case", `${good};config=ABCDEF0123456789`],
  ["a hash that is too long", `${good};config=${"0".repeat(17)}`],
  ["an outage of phase 0", `${good};outage=0:1:1`],
  ["an outage without an end", `${good};outage=1:1`],
  ["a name in upper case", `${good};Later=1`],
  ["a value with a space", `${good};later=a b`],
  ["a value with a control character", `${good};later=\u001b[31m`],
  ["a value with a letter beyond ASCII", `${good};later=ü`],
  ["an empty value", `${good};later=`],
  ["an empty field", `${good};`],
  ["a value of 65 characters", `${good};later=${"x".repeat(65)}`],
  ["seventeen fields", [good, ...Array.from({ length: 15 }, (_, i) => `a${"bcdefghijklmnopq"[i]}=1`)].join(";")],
  [
    "more than 512 characters",
    `${good};${Array.from({ length: 8 }, (_, i) => `a${"bcdefghi"[i]}=${"x".repeat(64)}`).join(";")}`,
  ],
];
for (const [what, header] of wrong)
  test(`${what} says nothing`, () => {
    assert.equal(parseShimReport(header), undefined);
  });

test("sixteen fields are read", () => {
  const text = [good, ...Array.from({ length: 14 }, (_, i) => `a${"bcdefghijklmnopq"[i]}=1`)].join(";");
  assert.deepEqual(parseShimReport(text), { version: "0.2.0", phase: 0 });
});
