// Two clusters that share one key of an embedded backend, under two names for it, and what their
// etcds hold: for tests of `claviger key`.
import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCli } from "@claviger/cli/src/run.ts";
import { createKeyJournal } from "@claviger/gateway-core/src/backend/key-journal.ts";
import { openBackend } from "@claviger/gateway-core/src/backend/open.ts";
import type { KeyRef } from "@claviger/gateway-core/src/backend/port.ts";
import { encodeEnvelope } from "@claviger/gateway-core/src/key/envelope.ts";
import { associatedData, deriveKeyId, keyPath } from "@claviger/gateway-core/src/key/key-id.ts";
import { backendName, type ClusterUid, clusterUid } from "@claviger/proto/wire/names.ts";
import { encodeStored } from "../../../demo/stored.ts";
import { ref, silent } from "../fakes.ts";

export const prod = clusterUid.parse("01JD9Z6X3QK8V5T7W2M4N6P8RA");
export const other = clusterUid.parse("01JD9Z6X3QK8V5T7W2M4N6P8RB");
export const alias: KeyRef = { ...ref, backend: backendName.parse("second") };

export type CliRun = { readonly status: number; readonly out: string; readonly err: string };

export type KeyFleet = {
  readonly dir: string;
  readonly keyFile: string;
  /** `claviger key …` */
  run(...args: readonly string[]): Promise<CliRun>;
  /** A value of etcd that a gateway could have written. */
  object(uid: ClusterUid, key: KeyRef, version: number): Promise<Buffer>;
  /**
   * The key was deleted, and another one made under its name, with as many versions; with `isOld` it claims
   * to be as old as the first.
   */
  replaceKey(options?: { readonly isOld?: boolean }): Promise<void>;
  minDecryption(): Promise<number>;
  remove(): Promise<void>;
};

/** What kube-apiserver stores for a KMS plugin's ciphertext. */
export function storedValue(provider: string, keyId: string, encryptedDekSource: Uint8Array): Buffer {
  return Buffer.from(
    encodeStored({ provider, encryptedData: Buffer.alloc(80), keyId, encryptedDekSource, annotations: {} }),
  );
}

export async function createKeyFleet(): Promise<KeyFleet> {
  const dir = await mkdtemp(join(tmpdir(), "claviger-cli-"));
  const config = join(dir, "gateway.yaml");
  const keyFile = join(dir, "keys.json");
  const embedded = `{ kind: embedded, file: ${keyFile} }`;
  await writeFile(
    config,
    `listen: { port: 0 }
admin: { port: 0 }
tls: { cert: c, key: k, clientCa: a }
trustDomain: fleet.example
registry: { kind: file, file: ${join(dir, "clusters.yaml")} }
backends: { main: ${embedded}, second: ${embedded} }
audit: { sinks: [{ kind: stdout }] }
`,
  );
  await writeFile(
    join(dir, "clusters.yaml"),
    `clusters:
  - { name: prod, uid: ${prod}, state: active, keys: [{ backend: main, mount: transit, key: prod }] }
  - { name: other, uid: ${other}, state: active, keys: [{ backend: second, mount: transit, key: prod }] }
`,
  );
  const run = async (...args: readonly string[]): Promise<CliRun> => {
    const [out, err]: [string[], string[]] = [[], []];
    const terminal = {
      out: (line: string) => out.push(line),
      err: (line: string) => err.push(line),
      env: {},
      home: dir,
    };
    const status = await runCli(["key", ...args, "--config", config], terminal);
    return { status, out: out.join("\n"), err: err.join("\n") };
  };
  return {
    dir,
    keyFile,
    run,
    async object(uid, key, version) {
      const backend = await openBackend({
        name: key.backend,
        config: { kind: "embedded", file: keyFile },
        log: silent,
      });
      try {
        const signal = AbortSignal.timeout(5000);
        const createdAt = (await backend.describe(key, signal)).versions.get(version) ?? 0;
        const keyId = deriveKeyId(uid, [{ ref: key, version, createdAt }]);
        const [outcome] = await backend.wrap(
          key,
          [{ plaintext: Buffer.alloc(32, 9), associatedData: associatedData(uid, keyId, key.backend), version }],
          signal,
        );
        if (outcome?.ok !== true) throw new Error(`the backend does not encrypt: ${outcome?.error.message}`);
        const { ciphertext } = outcome.value;
        const wraps = [{ backend: key.backend, key: keyPath(key), version, ciphertext }];
        return storedValue("kms", keyId, encodeEnvelope({ clusterUid: uid, keyId, wraps }));
      } finally {
        await backend.close();
      }
    },
    async replaceKey({ isOld = false } = {}) {
      const keys = structuredClone(await createKeyJournal(keyFile).read());
      for (const { versions } of Object.values(keys))
        for (const version of Object.values(versions))
          Object.assign(version, {
            createdAt: version.createdAt + (isOld ? 0 : 60),
            material: randomBytes(32).toString("base64"),
          });
      await writeFile(keyFile, JSON.stringify({ format: "claviger-keys-1", keys }));
    },
    minDecryption: async () =>
      (JSON.parse((await run("status", "prod", "--json")).out) as { minDecryptionVersion: number })
        .minDecryptionVersion,
    remove: () => rm(dir, { recursive: true, force: true }),
  };
}
