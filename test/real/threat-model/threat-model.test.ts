// docs/threat-model.md says what a run finds today.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { findBinary } from "../../parts/find.ts";
import { differences } from "../../threat-model/document.ts";
import { runThreatModel } from "../../threat-model/run.ts";

const document = readFileSync(join(import.meta.dirname, "..", "..", "..", "docs", "threat-model.md"), "utf8");

/** CI has SOPS and External Secrets built; elsewhere their rows are for those who have. */
const isAll = process.env["CI"] === "true" || hasTools();

function hasTools(): boolean {
  try {
    return [findBinary("sops"), findBinary("external-secrets")].every((path) => path !== "");
  } catch {
    return false;
  }
}

test(`docs/threat-model.md is what a run on the real parts finds${isAll ? "" : ", without SOPS and External Secrets"}`, async () => {
  const pieces = await runThreatModel({ signal: new AbortController().signal, say: console.log, isAll });
  assert.ok(pieces.rows.length >= (isAll ? 9 : 5), `${pieces.rows.length} rows`);
  assert.ok(pieces.attackers.length >= 15, `${pieces.attackers.length} attackers`);
  assert.deepEqual(differences(document, pieces, isAll), []);
});

test("what is found bears out every claim of SECURITY.md's table that is tested", () => {
  assert.ok(document.includes("| yes |"));
  assert.doesNotMatch(document, /not true|\*\*no, see below/);
});
