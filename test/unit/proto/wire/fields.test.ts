// The first look at protobuf bytes: agrees with the decoder on what a message is, and never costs
// more than it may.
import assert from "node:assert/strict";
import { test } from "node:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { BatchRequestSchema } from "@claviger/proto/gen/claviger/relay_pb.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { walkFields } from "@claviger/proto/wire/fields.ts";
import * as fc from "fast-check";

test("each length-delimited field is shown as it stands", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 64 }), (requests) => {
      const bytes = toBinary(BatchRequestSchema, create(BatchRequestSchema, { requests }));
      const seen: Uint8Array[] = [];
      walkFields(bytes, 64, (number, value) => {
        assert.equal(number, 1);
        seen.push(value);
      });
      assert.deepEqual(
        seen.map((value) => Buffer.from(value).toString("hex")),
        requests.map((value) => Buffer.from(value).toString("hex")),
      );
    }),
  );
});

test("any bytes are walked over or refused as malformed", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        walkFields(bytes, 16, (_, value) => assert.ok(value.length <= bytes.length));
      } catch (error) {
        assert.ok(error instanceof KmsError && error.reason === "request_malformed");
      }
    }),
    { numRuns: 2000 },
  );
});

test("one field too many is refused without a look at the rest", () => {
  const half = Buffer.alloc(1024 * 1024, Buffer.from([0x0a, 0]));
  let seen = 0;
  assert.throws(() => walkFields(half, 64, () => (seen += 1)), /malformed/);
  assert.equal(seen, 64);
});
