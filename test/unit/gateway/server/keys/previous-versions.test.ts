import assert from "node:assert/strict";
import { test } from "node:test";
import type { CanaryCiphertext, CanaryCiphertexts } from "@claviger/gateway-server/src/keys/canary-ciphertexts.ts";
import { createPreviousVersionProbe } from "@claviger/gateway-server/src/keys/previous-versions.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { pino } from "pino";
import { createFakeBackend, ref, silent } from "../../fakes.ts";

function inMemory(): CanaryCiphertexts & { readonly kept: CanaryCiphertext[] } {
  const kept: CanaryCiphertext[] = [];
  return {
    kept,
    all: () => Promise.resolve([...kept]),
    keep(_, canaryCiphertext) {
      kept.push(canaryCiphertext);
      return Promise.resolve();
    },
  };
}

test("each version leaves a ciphertext once, and earlier ones are tried in turn, one at each look", async () => {
  const backend = createFakeBackend();
  const canaryCiphertexts = inMemory();
  const previousVersions = createPreviousVersionProbe({ backend, ref, canaryCiphertexts, log: silent });
  for (const version of [1, 2, 3]) {
    if (version > 1) backend.addVersion(version * 1000);
    for (let i = 0; i < 2; i++) await previousVersions.look({ version, createdAt: version * 1000 }, backend.state);
  }
  assert.deepEqual(
    canaryCiphertexts.kept.map(({ version }) => version),
    [1, 2, 3],
  );
  backend.calls.unwrap = 0;
  for (let i = 0; i < 4; i++) await previousVersions.look({ version: 3, createdAt: 3000 }, backend.state);
  assert.equal(backend.calls.unwrap, 4);
  assert.deepEqual(previousVersions.broken(), []);
});

test("one that fails counts until it works again; an outage says nothing, a retired one is not tried", async () => {
  const backend = createFakeBackend();
  const canaryCiphertexts = inMemory();
  const previousVersions = createPreviousVersionProbe({ backend, ref, canaryCiphertexts, log: silent });
  await previousVersions.look({ version: 1, createdAt: 1000 }, backend.state);
  backend.addVersion(2000);
  const promoted = { version: 2, createdAt: 2000 };
  const failing = (reason: "key_missing" | "backend_unavailable"): void => {
    backend.before = (operation) => {
      if (operation === "unwrap") throw new KmsError(reason);
    };
  };
  failing("backend_unavailable");
  await previousVersions.look(promoted, backend.state);
  assert.deepEqual(previousVersions.broken(), []);
  failing("key_missing");
  await previousVersions.look(promoted, backend.state);
  await previousVersions.look(promoted, backend.state);
  assert.deepEqual(previousVersions.broken(), [1]);
  backend.before = () => {};
  await previousVersions.look(promoted, backend.state);
  assert.deepEqual(previousVersions.broken(), []);
  failing("key_missing");
  await previousVersions.look(promoted, backend.state);
  assert.deepEqual(previousVersions.broken(), [1]);
  await previousVersions.look(promoted, { ...backend.state, minDecryption: 2 });
  assert.deepEqual(previousVersions.broken(), []);
});

test("a store that fails is a line in the log and nothing else", async () => {
  const failing = (): Promise<never> => Promise.reject(new KmsError("backend_unavailable"));
  const previousVersions = createPreviousVersionProbe({
    backend: createFakeBackend(),
    ref,
    canaryCiphertexts: { all: failing, keep: failing },
    log: silent,
  });
  await previousVersions.look({ version: 1, createdAt: 1000 }, createFakeBackend().state);
  assert.deepEqual(previousVersions.broken(), []);
});

test("documents that cannot be read are said once, until they can be", async () => {
  const lines: string[] = [];
  const log = pino({ level: "warn" }, { write: (line: string) => void lines.push(line) });
  const backend = createFakeBackend();
  const kept = inMemory();
  let isDenied = true;
  const canaryCiphertexts: CanaryCiphertexts = {
    ...kept,
    all: (key) => (isDenied ? Promise.reject(new KmsError("backend_denied")) : kept.all(key)),
  };
  const previousVersions = createPreviousVersionProbe({ backend, ref, canaryCiphertexts, log });
  const look = () => previousVersions.look({ version: 1, createdAt: 1000 }, backend.state);
  for (let i = 0; i < 3; i++) await look();
  assert.equal(lines.length, 1);
  isDenied = false;
  await look();
  isDenied = true;
  await look();
  assert.equal(lines.length, 2);
});
