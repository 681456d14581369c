// The embedded backend: versioned AES-256-GCM keys in one local file, with Transit's semantics. To
// try Claviger out and for a single small site; it is not a Vault, and whoever reads the file has
// every key. (docs/architecture.md #backends.)
import { createCipheriv, createDecipheriv, createHmac, randomBytes } from "node:crypto";
import { stat } from "node:fs/promises";
import { KmsError, type Reason } from "@claviger/proto/wire/errors.ts";
import type { BackendName } from "@claviger/proto/wire/names.ts";
import { keyPath } from "../key/key-id.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import {
  createKeyJournal,
  type KeyChange,
  latestOf,
  newMaterial,
  type StoredKey,
  type StoredKeys,
} from "./key-journal.ts";
import type { KeyRef, KeyState, OpenBackend, Outcome } from "./port.ts";

const algorithm = "aes-256-gcm";
const nonceBytes = 12;
const tagBytes = 16;

function attempt<T>(run: () => T): Outcome<T> {
  try {
    return { ok: true, value: run() };
  } catch (error) {
    return {
      ok: false,
      error: error instanceof KmsError ? error : new KmsError("ciphertext_invalid", { cause: error }),
    };
  }
}

/**
 * Opens the key file, which is made with its first key. A key that nobody has asked for yet is
 * made, at version 1, when it is first described.
 * @throws ConfigError when the file is there and not usable; it is left as it is
 */
export async function openEmbeddedBackend({
  name,
  file,
  log,
}: {
  readonly name: BackendName;
  readonly file: string;
  readonly log: Log;
}): Promise<OpenBackend> {
  const journal = createKeyJournal(file);
  let keys: StoredKeys = {};
  const read = async (): Promise<void> => {
    keys = await journal.read();
  };

  const withFaults = async <T>(run: () => Promise<T>): Promise<T> => {
    try {
      return await run();
    } catch (error) {
      throw error instanceof KmsError ? error : new KmsError("backend_unavailable", { cause: error });
    }
  };

  const stored = (ref: KeyRef): StoredKey => {
    const found = keys[keyPath(ref)];
    if (found === undefined) throw new KmsError("key_missing");
    return found;
  };

  const material = (ref: KeyRef, wanted: number, missing: Reason): Buffer => {
    const found = stored(ref).versions[String(wanted)];
    if (found === undefined) throw new KmsError(missing, { cause: new Error("no such key version") });
    return Buffer.from(found.material, "base64");
  };

  /** Each key begins with a version: where it is there, the first change says nothing. */
  const append = (ref: KeyRef, ...changes: readonly KeyChange[]): Promise<StoredKey> =>
    withFaults(async () => {
      const path = keyPath(ref);
      const make: KeyChange = { change: "make", key: path, ...newMaterial() };
      keys = await journal.append(keys[path] === undefined ? [make, ...changes] : changes);
      return stored(ref);
    });

  await read();
  const mode = await stat(file).then(
    (found) => found.mode,
    () => 0,
  );
  if ((mode & 0o077) !== 0)
    log.error(
      { event: "embedded-file-open", backend: name, file },
      "others than its owner may read this key file; set its mode to 0600",
    );
  log.warn(
    { event: "embedded-backend", backend: name, file },
    "the embedded backend is not a Vault: whoever reads this file has every key; back it up",
  );

  return {
    name,
    wrap: (ref, items) =>
      withFaults(async () => {
        await read();
        return items.map(({ plaintext, associatedData, version: wanted }) =>
          attempt(() => {
            if (wanted < stored(ref).minEncryption)
              throw new KmsError("request_malformed", { cause: new Error("below min_encryption_version") });
            const secret = material(ref, wanted, "request_malformed");
            const nonce = randomBytes(nonceBytes);
            const cipher = createCipheriv(algorithm, secret, nonce, { authTagLength: tagBytes }).setAAD(associatedData);
            const ciphertext = Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
            secret.fill(0);
            return { ciphertext, version: wanted };
          }),
        );
      }),
    unwrap: (ref, items) =>
      withFaults(async () => {
        await read();
        return items.map(({ ciphertext, associatedData, version: wanted }) =>
          attempt(() => {
            if (wanted < stored(ref).minDecryption)
              throw new KmsError("key_missing", { cause: new Error("below min_decryption_version") });
            if (ciphertext.length <= nonceBytes + tagBytes) throw new KmsError("ciphertext_invalid");
            const secret = material(ref, wanted, "ciphertext_invalid");
            const decipher = createDecipheriv(algorithm, secret, ciphertext.subarray(0, nonceBytes), {
              authTagLength: tagBytes,
            })
              .setAAD(associatedData)
              .setAuthTag(ciphertext.subarray(-tagBytes));
            const opened = decipher.update(ciphertext.subarray(nonceBytes, -tagBytes));
            secret.fill(0);
            try {
              decipher.final();
            } catch (error) {
              opened.fill(0);
              throw error;
            }
            return { plaintext: opened };
          }),
        );
      }),
    describe: (ref) =>
      withFaults(async (): Promise<KeyState> => {
        await read();
        if (keys[keyPath(ref)] === undefined) await append(ref);
        const { versions, minEncryption, minDecryption } = stored(ref);
        const created = Object.entries(versions).map(([number, { createdAt }]) => [Number(number), createdAt] as const);
        return { versions: new Map(created), latest: latestOf(stored(ref)), minEncryption, minDecryption };
      }),
    async promote(ref, wanted) {
      const { versions } = await append(ref, { change: "promote", key: keyPath(ref), version: wanted });
      if (versions[String(wanted)] === undefined) throw new KmsError("key_missing");
    },
    async setMinDecryption(ref, wanted) {
      await append(ref, { change: "retire", key: keyPath(ref), version: wanted });
    },
    async rotate(ref) {
      const made = newMaterial();
      const { versions } = await append(ref, { change: "rotate", key: keyPath(ref), ...made });
      // Others may have made versions at the same moment: ours has our bytes.
      const own = Object.entries(versions).find(([, version]) => version.material === made.material);
      if (own === undefined)
        throw new KmsError("backend_unavailable", { cause: new Error("the new version is not there") });
      return Number(own[0]);
    },
    hmac: (ref, wanted, input) =>
      withFaults(async () => {
        await read();
        if (keys[keyPath(ref)] === undefined) await append(ref);
        return createHmac("sha256", material(ref, wanted, "key_missing"))
          .update(input)
          .digest();
      }),
    health: () => withFaults(read),
    close: () => Promise.resolve(),
  };
}
