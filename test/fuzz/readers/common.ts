// What the seeds of several readers are made of.
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { backendName, clusterUid, keyName, mountPath } from "@claviger/proto/wire/names.ts";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import { encodeEnvelope } from "@claviger/gateway-core/src/key/envelope.ts";
import { deriveKeyId } from "@claviger/gateway-core/src/key/key-id.ts";
import { canary } from "../target.ts";

export const isKmsError = (error: unknown): boolean => error instanceof KmsError;
export const isConfigError = (error: unknown): boolean => error instanceof ConfigError;
export const texts = (...list: readonly string[]): readonly Buffer[] => list.map((text) => Buffer.from(text));

export const uid = clusterUid.parse("01M8CZX875MFSCYTBWR058VXTG");
export const ref = {
  backend: backendName.parse("main"),
  mount: mountPath.parse("transit"),
  key: keyName.parse("prod"),
};
export const keyId = deriveKeyId(uid, [{ ref, version: 3, createdAt: 1_790_000_000 }]);
export const envelope = Buffer.from(
  encodeEnvelope({
    clusterUid: uid,
    keyId,
    wraps: [{ backend: ref.backend, key: "transit/prod", version: 3, ciphertext: Buffer.alloc(60, 9) }],
  }),
);
/** What signs values in Redis, and epochs. */
export const secret = Buffer.alloc(32, 7);
export const base64Canary = Buffer.from(canary).toString("base64");
