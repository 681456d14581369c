// When a node's certificate is renewed. (docs/architecture.md #enrollment.)
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { renewalDelay } from "../../../shim/src/renewal.ts";

const hour = 3_600_000;
const start = Date.parse("2026-11-26T00:00:00Z");
const day = { validFrom: "Nov 26 00:00:00 2026 GMT", validTo: "Nov 27 00:00:00 2026 GMT" };

suite("a certificate of a day", () => {
  test("is renewed after two thirds of its life, or up to a twentieth of it earlier", () => {
    assert.equal(renewalDelay(day, start, 0), 16 * hour);
    assert.equal(renewalDelay(day, start, 1), 14.8 * hour);
  });

  test("is renewed at once when that is past, however long ago", () => {
    assert.equal(renewalDelay(day, start + 17 * hour, 0.5), 0);
    assert.equal(renewalDelay(day, start + 48 * hour, 0.5), 0);
  });
});
