// A log that says where its chain begins and ends, and has Vault sign its head in between.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { lineHash } from "@claviger/gateway-core/src/audit/chain.ts";
import { openAuditLog } from "@claviger/gateway-core/src/audit/log.ts";
import type { AuditEntry, ChainHead, ChainPlace } from "@claviger/gateway-core/src/audit/record.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { silent } from "../../fakes.ts";
import { createFakeSink } from "./fakes.ts";
import { entry, found, key, keys, type Lines, sign, verify } from "./records.ts";

type Line = Omit<AuditEntry, "at"> & ChainPlace;

/** A sink whose file ends with this. */
function createSinkAfter(name: string, last: ChainHead) {
  return { ...createFakeSink(name), last: () => Promise.resolve(last) };
}

function parse(lines: Lines): readonly Line[] {
  return lines.map((line) => JSON.parse(line) as Line);
}

/** Vault, which may be away. */
function createSigner() {
  const state = { isAway: false, isKnown: true, asked: 0 };
  return {
    state,
    signer: {
      key: () => (state.isKnown ? key : undefined),
      keyVersion: 1,
      sign: (input: Uint8Array) => {
        state.asked += 1;
        return state.isAway ? Promise.reject(new KmsError("backend_unavailable")) : Promise.resolve(sign(input));
      },
    },
  };
}

async function minute(t: TestContext): Promise<void> {
  t.mock.timers.tick(60_000);
  // What was signed is written by then.
  for (let i = 0; i < 10; i++) await Promise.resolve();
}

test("a chain begins with what the files of its sinks ended with, is signed each minute and ends signed", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const head = { chain: "6b1f0f5e-58fb-4c11-9a3f-b6f7ff4d39a1", sequence: 7, hash: "ab" };
  const sink = createSinkAfter("one", head);
  const { signer, state } = createSigner();
  const sinks = [sink, createSinkAfter("two", head), createFakeSink("three")];
  const audit = await openAuditLog({ sinks, required: true, log: silent, replica: "gateway-1", signer });
  await audit.record(entry(1));
  await minute(t);
  await audit.record(entry(2));
  await audit.close();
  const records = parse(sink.lines);
  assert.deepEqual(
    records.map(({ method }) => method),
    ["chainStart", "encrypt", "chainHead", "encrypt", "chainEnd"],
  );
  assert.deepEqual([records[0]?.earlier, records[0]?.replica, records[0]?.keyVersion], [[head], "gateway-1", 1]);
  assert.deepEqual(
    [records[2]?.head?.sequence, records[2]?.head?.hash, records[4]?.head?.sequence],
    [1, lineHash(sink.lines[1] ?? ""), 3],
  );
  assert.equal(state.asked, 2);
  const report = await verify([sink.lines]);
  assert.deepEqual([found(report), report.unchecked], [[], []]);
});

test("while Vault is away nothing is signed, which is logged once, and the next minute tries again", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval", "Date"] });
  const warnings: unknown[] = [];
  const log = Object.assign(Object.create(silent) as typeof silent, {
    warn: ({ event }: { readonly event: string }) => warnings.push(event),
  });
  const sink = createFakeSink("one");
  const { signer, state } = createSigner();
  state.isAway = true;
  const audit = await openAuditLog({ sinks: [sink], required: true, log, replica: "gateway-1", signer });
  const since = audit.signedAt();
  assert.ok(since !== undefined);
  await minute(t);
  await minute(t);
  assert.deepEqual([warnings, state.asked], [["audit-head-unsigned"], 2]);
  assert.equal(audit.signedAt(), since, "what nobody signed is told since it began");
  state.isAway = false;
  await minute(t);
  assert.ok((audit.signedAt() ?? 0) > since);
  state.isAway = true;
  await audit.close();
  const records = parse(sink.lines);
  assert.deepEqual(
    records.map(({ method, head }) => [method, head?.sequence]),
    [
      ["chainStart", undefined],
      ["chainHead", 0],
      ["chainEnd", undefined],
    ],
  );
  assert.deepEqual(found(await verify([sink.lines])), []);
});

test("records that are written before the key is known have no MAC, and later ones vouch for them", async () => {
  const sink = createFakeSink("one");
  const { signer, state } = createSigner();
  state.isKnown = false;
  const audit = await openAuditLog({ sinks: [sink], required: true, log: silent, replica: "gateway-1", signer });
  await audit.record(entry(1));
  state.isKnown = true;
  await audit.record(entry(2));
  await audit.close();
  assert.deepEqual(
    parse(sink.lines).map(({ mac }) => mac !== undefined),
    [false, false, true, true],
  );
  const report = await verify([sink.lines], keys);
  assert.deepEqual([found(report), report.unchecked], [[], []]);
});

test("where no integrity key is configured the chain has a start and an end, and no MAC", async () => {
  const sink = createFakeSink("one");
  const audit = await openAuditLog({ sinks: [sink], required: true, log: silent, replica: "gateway-1" });
  await audit.record(entry(1));
  await audit.close();
  assert.deepEqual(
    parse(sink.lines).map(({ method, mac, head, keyVersion }) => [method, mac, head, keyVersion]),
    ["chainStart", "encrypt", "chainEnd"].map((method) => [method, undefined, undefined, undefined]),
  );
  assert.deepEqual(found(await verify([sink.lines])), []);
});
