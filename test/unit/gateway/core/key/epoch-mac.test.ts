import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { createEpochMac } from "@claviger/gateway-core/src/key/epoch-mac.ts";

const secret = randomBytes(32);
const macs = createEpochMac(() => secret);

test("every gateway of a fleet knows what another one has signed, for that cluster alone", () => {
  const claim = macs.sign("uid-a", [1, 1000, 7]);
  assert.equal(claim.text, "1.1000.7");
  const other = createEpochMac(() => Uint8Array.from(secret));
  assert.deepEqual(other.read("uid-a", claim), { epoch: [1, 1000, 7], isProven: true });
  assert.equal(other.read("uid-b", claim)?.isProven, false);
  assert.equal(other.read("uid-a", { ...claim, text: "1.1000.8" })?.isProven, false);
  assert.equal(createEpochMac(() => randomBytes(32)).read("uid-a", claim)?.isProven, false);
  assert.equal(other.read("uid-a", { text: claim.text, mac: claim.mac?.slice(0, 20) ?? "" })?.isProven, false);
});

test("0.1.0 on either side, or a gateway without the key: the epoch counts, and is not proven", () => {
  const keyless = createEpochMac();
  assert.deepEqual(keyless.sign("uid-a", [1, 1000, 7]), { text: "1.1000.7" });
  assert.deepEqual(macs.read("uid-a", { text: "1.1000.7" }), { epoch: [1, 1000, 7], isProven: false });
  assert.deepEqual(keyless.read("uid-a", macs.sign("uid-a", [1, 1000, 7])), { epoch: [1, 1000, 7], isProven: false });
  assert.equal(macs.read("uid-a", undefined), undefined);
  assert.equal(macs.read("uid-a", { text: "nonsense" }), undefined);
});

test("an epoch is signed once while it stays, and what was not signed is signed once the key is known", () => {
  let key: Uint8Array | undefined;
  let asked = 0;
  const late = createEpochMac(() => {
    asked += 1;
    return key;
  });
  assert.deepEqual(late.sign("uid-a", [1, 1, 1]), { text: "1.1.1" });
  key = secret;
  const claim = late.sign("uid-a", [1, 1, 1]);
  assert.deepEqual(macs.read("uid-a", claim), { epoch: [1, 1, 1], isProven: true });
  assert.deepEqual(late.sign("uid-a", [1, 1, 1]), claim);
  assert.equal(late.sign("uid-a", [1, 1, 1]), late.sign("uid-a", [1, 1, 1]), "not signed anew");
  assert.notEqual(late.sign("uid-b", [1, 1, 1]).mac, claim.mac);
  assert.notEqual(late.sign("uid-a", [1, 2, 1]).mac, claim.mac);
  asked = 0;
  assert.equal(late.read("uid-c", { text: "1.1.1" })?.isProven, false);
  assert.equal(asked, 0, "what claims nothing costs nothing");
});
