// docs/threat-model.md says what a run finds today.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { differences } from "../../threat-model/document.ts";
import { runThreatModel } from "../../threat-model/run.ts";

const document = readFileSync(join(import.meta.dirname, "..", "..", "..", "docs", "threat-model.md"), "utf8");

test("every row of docs/threat-model.md is what a run on the real parts finds", async () => {
  const pieces = await runThreatModel({ signal: new AbortController().signal, say: console.log });
  assert.ok(pieces.rows.length >= 5);
  assert.deepEqual(differences(document, pieces, true), []);
});
