import assert from "node:assert/strict";
import { test } from "node:test";
import type { Keepsake, Keepsakes } from "@claviger/gateway/src/keys/keepsakes.ts";
import { createOlderVersions } from "@claviger/gateway/src/keys/older.ts";
import { KmsError } from "@claviger/proto/errors.ts";
import { createFakeBackend, ref, silent } from "./fakes.ts";

const inMemory = (): Keepsakes & { readonly kept: Keepsake[] } => {
  const kept: Keepsake[] = [];
  return {
    kept,
    all: () => Promise.resolve([...kept]),
    keep(_, keepsake) {
      kept.push(keepsake);
      return Promise.resolve();
    },
  };
};

test("each version leaves a ciphertext once, and earlier ones are tried in turn, one at each look", async () => {
  const backend = createFakeBackend();
  const keepsakes = inMemory();
  const older = createOlderVersions({ backend, ref, keepsakes, log: silent });
  for (const version of [1, 2, 3]) {
    if (version > 1) backend.addVersion(version * 1000);
    for (let i = 0; i < 2; i++) await older.look({ version, createdAt: version * 1000 }, backend.state);
  }
  assert.deepEqual(
    keepsakes.kept.map(({ version }) => version),
    [1, 2, 3],
  );
  backend.calls.unwrap = 0;
  for (let i = 0; i < 4; i++) await older.look({ version: 3, createdAt: 3000 }, backend.state);
  assert.equal(backend.calls.unwrap, 4);
  assert.equal(older.broken(), 0);
});

test("one that fails counts until it works again; an outage says nothing, a retired one is not tried", async () => {
  const backend = createFakeBackend();
  const keepsakes = inMemory();
  const older = createOlderVersions({ backend, ref, keepsakes, log: silent });
  await older.look({ version: 1, createdAt: 1000 }, backend.state);
  backend.addVersion(2000);
  const promoted = { version: 2, createdAt: 2000 };
  const failing = (reason: "key_missing" | "backend_unavailable"): void => {
    backend.before = (operation) => {
      if (operation === "unwrap") throw new KmsError(reason);
    };
  };
  failing("backend_unavailable");
  await older.look(promoted, backend.state);
  assert.equal(older.broken(), 0);
  failing("key_missing");
  await older.look(promoted, backend.state);
  await older.look(promoted, backend.state);
  assert.equal(older.broken(), 1);
  backend.before = () => {};
  await older.look(promoted, backend.state);
  assert.equal(older.broken(), 0);
  failing("key_missing");
  await older.look(promoted, { ...backend.state, minDecryption: 2 });
  assert.equal(older.broken(), 0);
});

test("a store that fails is a line in the log and nothing else", async () => {
  const failing = (): Promise<never> => Promise.reject(new KmsError("backend_unavailable"));
  const older = createOlderVersions({ backend: createFakeBackend(), ref, keepsakes: { all: failing, keep: failing }, log: silent });
  await older.look({ version: 1, createdAt: 1000 }, createFakeBackend().state);
  assert.equal(older.broken(), 0);
});
