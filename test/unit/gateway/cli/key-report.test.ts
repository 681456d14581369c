import assert from "node:assert/strict";
import { test } from "node:test";
import { formatReport, refreshOf, reportOf } from "@claviger/cli/src/key-report.ts";
import { cluster } from "../fakes.ts";

test("versions of which Transit tells nothing any more are shown as retired", () => {
  const state = { latest: 5, minEncryption: 5, minDecryption: 4 };
  const versions = new Map([
    [4, 1000],
    [5, 2000],
  ]);
  const report = reportOf(cluster(), { ...state, versions });
  assert.deepEqual(report.retired, { from: 1, to: 3 });
  assert.match(formatReport(report), /^1 to 3 +retired\n4 +1970\S+ +decrypts\n5 +1970\S+ +encrypts$/m);
  const one = reportOf(cluster(), { latest: 2, minEncryption: 2, minDecryption: 2, versions: new Map([[2, 1000]]) });
  assert.match(formatReport(one), /^1 +retired\n2 /m);
});

test("an embedded key, which tells of them all, shows each once", () => {
  const versions = new Map([
    [1, 1000],
    [2, 2000],
  ]);
  const report = reportOf(cluster(), { latest: 2, minEncryption: 2, minDecryption: 2, versions });
  assert.equal(report.retired, undefined);
  assert.match(formatReport(report), /^1 +1970\S+ +retired\n2 +1970\S+ +encrypts$/m);
});

test("a key of which nothing is promoted has neither key_id nor hash", () => {
  const report = reportOf(cluster(), { latest: 1, minEncryption: 0, minDecryption: 1, versions: new Map([[1, 1000]]) });
  assert.deepEqual([report.keyId, report.keyIdHash, report.retired], [undefined, undefined, undefined]);
  assert.doesNotMatch(formatReport(report), /^hash/m);
});

test("how often the key is read is said by gateways, else by the configuration, else not known", () => {
  const state = { latest: 1, minEncryption: 1, minDecryption: 1, versions: new Map([[1, 1000]]) };
  const heard = { seconds: 200.04, gateways: ["http://10.0.0.1:9090"] };
  const byWord = reportOf(cluster(), state, refreshOf(heard, 10_000));
  assert.deepEqual(byWord.refresh, { everySeconds: 200, seenWithinSeconds: 201, gateways: heard.gateways });
  assert.match(
    formatReport(byWord),
    /^read +every 200 s by the word of http:\/\/10\.0\.0\.1:9090; a rotation .* within 201 s$/m,
  );
  const byConfig = reportOf(cluster(), state, refreshOf(undefined, 500));
  assert.deepEqual(byConfig.refresh, { everySeconds: 0.5, seenWithinSeconds: 1.5, gateways: [] });
  assert.match(formatReport(byConfig), /^read +every 0\.5 s by the configuration, .* within 1\.5 s at best$/m);
  const unknown = reportOf(cluster(), state, refreshOf(undefined, undefined));
  assert.equal(unknown.refresh, undefined);
  assert.match(formatReport(unknown), /^read +not known: no gateway was heard/m);
});
