// The embedded backend: versioned AES-256-GCM keys in one local file, with Transit's semantics. To
// try Claviger out and for a single small site; it is not a Vault, and whoever reads the file has
// every key. (docs/architecture.md #backends.)
import { createCipheriv, createDecipheriv, createHmac, randomBytes } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { checkConfig, ConfigError, z, zInteger } from "@claviger/proto/runtime/config.ts";
import { KmsError, type Reason } from "@claviger/proto/wire/errors.ts";
import type { BackendName } from "@claviger/proto/wire/names.ts";
import { keyPath } from "../key/key-id.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import type { KeyRef, KeyState, OpenBackend, Outcome } from "./port.ts";
import { withLock, writeDurably } from "./durable-file.ts";

const version = z.strictObject({
  createdAt: zInteger(0, Number.MAX_SAFE_INTEGER),
  material: z.string().check(z.regex(/^[A-Za-z0-9+/]{43}=$/, { error: "must be 32 bytes of base64" })),
});
const key = z.strictObject({
  minEncryption: zInteger(0, 1_000_000),
  minDecryption: zInteger(1, 1_000_000),
  versions: z
    .record(z.string().check(z.regex(/^[1-9]\d{0,6}$/, { error: "must be a version number" })), version)
    .check(z.refine((versions) => Object.keys(versions).length > 0, { error: "must hold at least one version" })),
});
const keyFile = z.strictObject({ format: z.literal("claviger-keys-1"), keys: z.record(z.string(), key) });

type KeyFile = z.infer<typeof keyFile>;
type StoredKey = KeyFile["keys"][string];

const algorithm = "aes-256-gcm";
const nonceBytes = 12;
const tagBytes = 16;

function parseKeyFile(file: string, text: string): KeyFile {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ConfigError(file, ["is not JSON; restore it from a backup: without it nothing can be decrypted"]);
  }
  return checkConfig(file, value, keyFile);
}

function newVersion(): StoredKey["versions"][string] {
  return {
    createdAt: Math.floor(Date.now() / 1000),
    material: randomBytes(32).toString("base64"),
  };
}

function latestOf({ versions }: StoredKey): number {
  return Math.max(...Object.keys(versions).map(Number));
}

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
  let seen = "";
  let keys: KeyFile["keys"] = {};

  const read = async (): Promise<void> => {
    const mark = await stat(file).then(
      ({ ino, size, mtimeMs }) => `${ino} ${size} ${mtimeMs}`,
      (error: unknown) => {
        const { code = "unknown error" } = error as NodeJS.ErrnoException;
        if (code === "ENOENT") return "";
        throw new ConfigError(file, [`cannot be read (${code})`]);
      },
    );
    if (mark === seen) return;
    if (mark === "") throw new KmsError("backend_unavailable", { cause: new Error(`${file} is gone`) });
    keys = parseKeyFile(file, await readFile(file, "utf8")).keys;
    seen = mark;
  };

  // Another gateway or the CLI may write too: always from what is on the disk, under the lock,
  // whole.
  const change = async (edit: (current: KeyFile["keys"]) => KeyFile["keys"]): Promise<void> => {
    await withLock(file, async () => {
      await read();
      const next: KeyFile = { format: "claviger-keys-1", keys: edit(keys) };
      await writeDurably(file, `${JSON.stringify(next, undefined, 2)}\n`);
      await read();
    });
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

  const edited = (ref: KeyRef, edit: (current: StoredKey) => StoredKey): Promise<void> =>
    withFaults(() =>
      change((current) => ({
        ...current,
        [keyPath(ref)]: edit(
          current[keyPath(ref)] ?? { minEncryption: 0, minDecryption: 1, versions: { 1: newVersion() } },
        ),
      })),
    );

  await read();
  if (seen !== "" && ((await stat(file)).mode & 0o077) !== 0)
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
        if (keys[keyPath(ref)] === undefined) await edited(ref, (current) => current);
        const { versions, minEncryption, minDecryption } = stored(ref);
        const created = Object.entries(versions).map(([number, { createdAt }]) => [Number(number), createdAt] as const);
        return { versions: new Map(created), latest: latestOf(stored(ref)), minEncryption, minDecryption };
      }),
    async promote(ref, wanted) {
      await edited(ref, (current) => {
        if (current.versions[String(wanted)] === undefined) throw new KmsError("key_missing");
        return { ...current, minEncryption: wanted };
      });
    },
    async setMinDecryption(ref, wanted) {
      await edited(ref, (current) => ({ ...current, minDecryption: wanted }));
    },
    async rotate(ref) {
      await edited(ref, (current) => ({
        ...current,
        versions: { ...current.versions, [latestOf(current) + 1]: newVersion() },
      }));
      return latestOf(stored(ref));
    },
    hmac: (ref, wanted, input) =>
      withFaults(async () => {
        await read();
        if (keys[keyPath(ref)] === undefined) await edited(ref, (current) => current);
        return createHmac("sha256", material(ref, wanted, "key_missing"))
          .update(input)
          .digest();
      }),
    health: () => withFaults(read),
    close: () => Promise.resolve(),
  };
}
