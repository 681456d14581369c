// What the threat model's searches find, and that they cannot be blind.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { encode, forms } from "../../lab/forms.ts";
import { bytesOf, filesOf, look, newControl, newValue, textOf } from "../../threat-model/search.ts";
import { searchFor } from "../../threat-model/evidence.ts";

const control = newControl();
const value = newValue();
const sought = [{ what: "the value", bytes: value }];

function found(bytes: Uint8Array, what: readonly { what: string; bytes: Uint8Array }[] = sought) {
  return look(bytesOf("bytes", Buffer.concat([Buffer.from(textOf(control)), bytes])), what, control)[0]?.hits;
}

suite("a search of the threat model", () => {
  for (const form of forms)
    test(`finds a secret as ${form}, and in no other form`, () => {
      const hits = found(encode(value, form) ?? Buffer.alloc(0));
      assert.deepEqual(
        hits?.filter(({ count }) => count > 0).map((hit) => hit.form),
        [form],
      );
      assert.equal(hits?.length, forms.length);
    });

  for (const before of [0, 1, 2])
    for (const encoding of ["base64", "base64url"] as const)
      test(`finds bytes in the middle of ${encoding}, ${before} bytes after its beginning`, () => {
        const seed = randomBytes(32);
        const text = Buffer.concat([randomBytes(before), seed, randomBytes(7)]).toString(encoding);
        const hits = found(Buffer.from(text), [{ what: "the seed", bytes: seed }]);
        assert.deepEqual(
          hits?.map(({ form, count }) => [form, count > 0]),
          [
            ["raw", false],
            ["base64", true],
            ["hex", false],
          ],
        );
      });

  for (const form of forms)
    test(`fails where the control is missing as ${form}`, () => {
      const others = forms.filter((one) => one !== form).map((one) => control.copies[one]);
      const place = bytesOf("a place", Buffer.from(others.join(" ")));
      assert.throws(() => look(place, sought, control), new RegExp(`of a place misses .*: ${form}$`));
    });

  test("reads all files of a folder, past a chunk's end, and removes what it planted", () => {
    const dir = mkdtempSync(join(tmpdir(), "claviger-"));
    try {
      const padding = Buffer.alloc(16 * 1024 * 1024 - 10, "x");
      writeFileSync(join(dir, "large"), Buffer.concat([padding, value, padding]));
      const one = { place: "a folder", what: "the value" };
      const place = filesOf("a folder", [join(dir, "large")], control, dir);
      assert.deepEqual(searchFor(place, sought, control), [
        { did: "a folder searched for the value", searched: one, result: "raw: some", succeeded: true },
      ]);
      writeFileSync(join(dir, "large"), padding);
      assert.deepEqual(searchFor(place, sought, control), [
        {
          did: "a folder searched for the value",
          searched: one,
          result: "raw: 0, base64: 0, hex: 0, JSON string: 0",
          succeeded: false,
        },
      ]);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});
