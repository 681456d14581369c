// `key retire` and `unretire` as an operator calls them, on an embedded backend and an etcd that
// only has the one call.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { isSameKey } from "@claviger/gateway-core/src/retirement/same-key.ts";
import type { BackendConfig } from "@claviger/gateway-core/src/backend/config.ts";
import type { KeyRef } from "@claviger/gateway-core/src/backend/port.ts";
import { backendName, keyName, mountPath } from "@claviger/proto/wire/names.ts";
import { ref } from "../fakes.ts";
import { type FakeEtcd, startFakeEtcd } from "./fake-etcd.ts";
import { alias, type CliRun, createKeyFleet, type KeyFleet, other, prod, storedValue } from "./key-fleet.ts";

let fleet: KeyFleet;
let etcds: readonly [FakeEtcd, FakeEtcd];

before(async () => {
  etcds = [await startFakeEtcd(), await startFakeEtcd()];
});
after(() => etcds.forEach((etcd) => etcd.stop()));
beforeEach(async () => {
  fleet = await createKeyFleet();
  for (const step of ["promote", "rotate"]) assert.equal((await fleet.run(step, "prod")).status, 0, step);
});
afterEach(() => fleet.remove());

/** Objects under each version of the key, made while each still encrypts. */
async function twoVersions(): Promise<{ readonly old: Buffer; readonly otherOld: Buffer }> {
  const made = { old: await fleet.object(prod, ref, 1), otherOld: await fleet.object(other, alias, 1) };
  assert.equal((await fleet.run("promote", "prod")).status, 0);
  etcds[0].values = [await fleet.object(prod, ref, 2)];
  etcds[1].values = [await fleet.object(other, alias, 2)];
  return made;
}

function retire(...args: readonly string[]): Promise<CliRun> {
  const counted = ["--etcd", etcds[0].url, "--etcd", `other=${etcds[1].url}`];
  return fleet.run("retire", "prod", "--nodes-checked", "--yes", ...counted, ...args);
}

async function refused(reason: RegExp, ...args: readonly string[]): Promise<void> {
  const { status, out, err } = await retire(...args);
  assert.deepEqual([status, out], [1, ""]);
  assert.match(err, reason);
  assert.equal(await fleet.minDecryption(), 1);
}

test("a key that another cluster has under another backend's name is shared all the same", async () => {
  const { otherOld } = await twoVersions();
  const uncounted = await fleet.run("retire", "prod", "--nodes-checked", "--yes", "--etcd", etcds[0].url);
  assert.equal(uncounted.status, 1, uncounted.out);
  assert.match(uncounted.err, /cluster other uses this key too/);
  const stranger = await retire("--etcd", `else=${etcds[1].url}`);
  assert.equal(stranger.status, 1);
  assert.match(stranger.err, /--etcd else=…: cluster else does not use the key of prod/);
  etcds[1].values = [...etcds[1].values, otherOld];
  await refused(/1 object of cluster other still need version 1/);
});

test("done twice it is done, and says that nothing was changed", async () => {
  await twoVersions();
  const done = await retire();
  assert.equal(done.status, 0, done.err);
  assert.match(done.out, /^prod: retired the versions 1 to 1 of main:transit\/prod; they decrypt nothing any more/);
  assert.equal(await fleet.minDecryption(), 2);
  const again = await retire();
  assert.deepEqual([again.status, again.err], [0, ""]);
  assert.equal(again.out, "prod: no version below 2 of main:transit/prod decrypts; nothing was changed.");
});

test("an object of another KMS plugin is asked about, in an etcd of any cluster that shares the key", async () => {
  await twoVersions();
  const foreign = storedValue("kleidi", "1", Buffer.from("vault:v1:AAAA"));
  etcds[1].values = [...etcds[1].values, foreign];
  await refused(/1 object of cluster other that KMS plugin kleidi encrypted need version 1 of a Transit key/);
  const { status, err } = await retire("--other-key", "kleidi");
  assert.equal(status, 0, err);
  assert.equal(await fleet.minDecryption(), 2);
});

test("objects of a key that was deleted and made anew are named", async () => {
  const lost = await fleet.object(prod, ref, 1);
  await fleet.replaceKey();
  await twoVersions();
  etcds[0].values = [...etcds[0].values, lost];
  await refused(
    /1 object of cluster prod need version 1 of a key that is gone: .*delete them: \/registry\/secrets\/default\/s0001/,
  );
});

test("unretire refuses a version that there is not, and takes back one that there is", async () => {
  await twoVersions();
  assert.equal((await retire()).status, 0);
  const tooHigh = await fleet.run("unretire", "prod", "--from", "7");
  assert.deepEqual([tooHigh.status, tooHigh.out], [1, ""]);
  assert.equal(tooHigh.err, "claviger: transit/prod has no version 7; its latest is 2");
  assert.equal(
    (await fleet.run("unretire", "prod", "--from", "2")).out,
    "prod: version 2 decrypts already; nothing was changed.",
  );
  const back = await fleet.run("unretire", "prod", "--from", "1");
  assert.deepEqual([back.status, back.out], [0, "prod: the versions from 1 on of main: transit/prod decrypt again."]);
  assert.equal(await fleet.minDecryption(), 1);
});

test("a key is the same whether its namespace stands in the record or in the backend's configuration, and by whichever address", () => {
  const vault = (namespace: string | undefined, ...addresses: string[]): BackendConfig => ({
    kind: "vault",
    addresses,
    auth: { kind: "token-file", file: "t" },
    ...(namespace !== undefined && { namespace: mountPath.parse(namespace) }),
  });
  const backends = {
    main: vault("team", "https://a:8200", "https://b:8200"),
    second: vault(undefined, "https://b:8200"),
    third: vault(undefined, "https://c:8200"),
  };
  const at = (backend: string, namespace?: string): KeyRef => ({
    ...ref,
    backend: backendName.parse(backend),
    ...(namespace !== undefined && { namespace: mountPath.parse(namespace) }),
  });
  assert.ok(isSameKey(at("main"), at("main", "team"), backends));
  assert.ok(isSameKey(at("main"), at("second", "team"), backends));
  for (const another of [at("second"), at("main", "else"), at("third", "team"), { ...ref, key: keyName.parse("else") }])
    assert.ok(!isSameKey(at("main"), another, backends));
});
