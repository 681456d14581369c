// Words that were replaced by the field's own do not come back: in code, comments, messages, tests
// or documents.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";

const root = join(import.meta.dirname, "..", "..");

/** A word that is not used, and what is said instead. */
const replaced: Readonly<Record<string, { readonly use: string; readonly word: RegExp }>> = {
  board: { use: "shared key cache", word: /\b(?:key board|[a-z]*LonelyBoard|[kK]eyBoard)\b/ },
  keepsake: { use: "canary ciphertext", word: /keepsake/i },
  ledger: { use: "key_id observations", word: /\bledger\b/i },
  deed: { use: "event", word: /\bdeeds?\b/i },
  tracker: { use: "key poller", word: /\btrackers?\b/i },
  settle: { use: "reconcile", word: /\bsettle[sd]?\b/ },
  condemn: { use: "markDown", word: /\bcondemn/i },
  praise: { use: "markUp", word: /\bpraise/i },
  orEnd: { use: "raceAbort", word: /\borEnd\b/ },
  lane: { use: "key queue", word: /\blanes?\b|Lane\b/ },
  relief: { use: "slow-call timer", word: /\brelief\b/i },
  linger: { use: "result TTL, or say what is waited for", word: /\blinger/i },
  startBeside: { use: "minimum parallel batch", word: /\bstartBeside\b/ },
  trail: { use: "audit fields", word: /\bTrail\b|\btrail\b/ },
  misbehaved: { use: "backend_protocol_error", word: /misbehaved/i },
  "ride-out": { use: "grace period", word: /\brid(?:e|es|ing|den)[ -]out\b/i },
  readyFor: { use: "healthyFor", word: /\breadyFor\b|ready-for/ },
  writableFor: { use: "degradedFor", word: /\bwritableFor\b|writable-for/ },
  former: { use: "previousKeys", word: /\bformer\b/ },
  "older version": { use: "previous version", word: /older-versions?-/ },
  wipe: { use: "zeroize", word: /\bwip(?:e|es|ed|ing)\b/i },
  door: { use: "adapter, or the only file that imports it", word: /\bdoors?\b/i },
  nursery: { use: "process group", word: /\bnursery\b/i },
  scene: { use: "step", word: /\bscenes?\b/i },
  story: { use: "steps", word: /\bstory\b/i },
  befall: { use: "say what happens", word: /\bbefalls?\b/i },
  foresaw: { use: "say what happened", word: /\bforesaw\b/i },
};

/** Where a word stands all the same, and why. */
const allowed: readonly { readonly word: string; readonly file: RegExp; readonly why: string }[] = [
  { word: "ledger", file: /core\/(?:src\/)?redis\/observations/, why: "names in Redis are those of 0.1.0" },
  { word: "deed", file: /core\/(?:src\/)?redis\/observations/, why: "names in Redis are those of 0.1.0" },
  { word: "readyFor", file: /shim\/(?:src\/)?config/, why: "settings of 0.1.0 are read" },
  { word: "writableFor", file: /shim\/(?:src\/)?config/, why: "settings of 0.1.0 are read" },
  {
    word: "former",
    file: /registry\/(?:record|pieces|vault\.test)|registry-upgrade\.test|vault\/policy\.test/,
    why: "records of 0.1.0 are read",
  },
  { word: "misbehaved", file: /^proto\/wire\/errors|^test\/unit\/(?:shim|proto)/, why: "gateways of 0.1.0 say it" },
];

/** What names both, to tell operators what was renamed. */
const exempt = /^(?:CHANGELOG\.md|test\/unit\/words\.test\.ts)$/;

const files = readdirSync(root, { recursive: true, encoding: "utf8" }).filter(
  (path) =>
    /\.(?:ts|mjs|md|yaml|proto|service|conf|hcl)$/.test(path) &&
    !/(?:^|\/)(?:node_modules|dist|\.git|gen)\//.test(path) &&
    !exempt.test(path),
);

suite("Words that were replaced", () => {
  test("there is something to look at", () => {
    assert.ok(files.length > 200, `${files.length} files`);
  });

  for (const [name, { use, word }] of Object.entries(replaced))
    test(`${name} is not used`, () => {
      const found = files.flatMap((path) =>
        allowed.some((row) => row.word === name && row.file.test(path))
          ? []
          : readFileSync(join(root, path), "utf8")
              .split("\n")
              .flatMap((line, i) => (word.test(line) ? [`${path}:${i + 1}: ${line.trim().slice(0, 120)}`] : [])),
      );
      assert.deepEqual(found, [], `use: ${use}`);
    });
});
