// Readers of what Vault, Redis and etcd give.
import { setImmediate as nextTurn } from "node:timers/promises";
import { nodeName } from "@claviger/proto/wire/names.ts";
import { readDecrypt, readEncrypt } from "@claviger/gateway-core/src/backend/vault/transit.ts";
import type { RedisStore } from "@claviger/gateway-core/src/redis/client.ts";
import { createObservations, readObservations } from "@claviger/gateway-core/src/redis/observations.ts";
import { signValue, verifyValue } from "@claviger/gateway-core/src/redis/signed-value.ts";
import { readStored } from "@claviger/cli/src/usage/etcd-value.ts";
import { createSharedKeyCache } from "../../../gateway/server/src/keys/shared-key-cache.ts";
import { behind, json, protobuf, within } from "../formats.ts";
import { canary, saidBy, type Target } from "../target.ts";
import { base64Canary, isKmsError, keyId, secret, texts, uid } from "./common.ts";

const v2Prefix = Buffer.from("k8s:enc:kms:v2:claviger:");
const nobody = (): boolean => false;
const signedText = '{"state":{}}';

type Reply = Parameters<typeof readDecrypt>[0];
type Outcomes = ReturnType<typeof readDecrypt> | ReturnType<typeof readEncrypt>;

function replyOf(status: number, body: Buffer): Reply {
  return { status, body, headers: {} } as unknown as Reply;
}
function told(outcomes: Outcomes, reach: (end: string) => void): string {
  reach(outcomes.some(({ ok }) => ok) ? "an answer" : "failures");
  return outcomes.map((one) => (one.ok ? "" : saidBy(one.error))).join(" ");
}

/** JSON behind the HMAC of the name that it stands under: whatever is in it, a gateway has signed it. */
function signed(name: string) {
  return within(
    json,
    (input) => input.subarray(input.indexOf(".") + 1),
    (text) => Buffer.from(signValue(secret, name, text.toString())),
  );
}
function storeOf(fields: Readonly<Record<string, string>>): RedisStore {
  const store: Pick<RedisStore, "get" | "all"> = {
    get: (name) => Promise.resolve(fields[name] ?? null),
    all: () => Promise.resolve(fields),
  };
  return store as RedisStore;
}

const keyValue = "key:main:transit/prod";
/** What gateways have signed: each value with the field that it stands in. */
async function signedObservations(): Promise<readonly (readonly [field: string, value: string])[]> {
  const fields: (readonly [string, string])[] = [];
  const put: RedisStore["put"] = (_, field, value) => {
    fields.push([field, value]);
    return Promise.resolve();
  };
  const observations = createObservations({ redis: { ...storeOf({}), put }, secret: () => secret });
  for (const node of ["cp-1", "cp-2"])
    for (const event of ["reported", "decrypted"] as const)
      observations.record(event, uid, nodeName.parse(node), keyId);
  // They are written when nobody waits for it.
  while (fields.length < 4) await nextTurn();
  return fields;
}
const observed = await signedObservations();
/** What each field says when it is as it was signed. */
const known = new Map<string, string>();
for (const [field, value] of observed) {
  const [one] = await readObservations(storeOf({ [field]: value }), secret, uid);
  known.set(JSON.stringify(one), field);
}

const sequence = 1_790_000_000_000;
const keyState = { sequence, versions: [[1, 1_780_000_000]], latest: 1, minEncryption: 0, minDecryption: 1 };

export const storeTargets: readonly Target[] = [
  {
    name: "vault-decrypt",
    depths: { "an answer": 0.05, failures: 0.01 },
    seeds: () =>
      texts(
        `{"request_id":"r","data":{"batch_results":[{"plaintext":"${base64Canary}"},{"error":"cipher: message authentication failed"}]}}`,
        `{"errors":["1 error occurred:\\n\\t* ${base64Canary}\\n\\n"]}`,
        '{"data":null}',
      ),
    format: json,
    run: (body, reach) => told(readDecrypt(replyOf(body.length % 3 === 0 ? 400 : 200, body), 2), reach),
    isExpected: isKmsError,
  },
  {
    name: "vault-encrypt",
    depths: { "an answer": 0.05, failures: 0.02 },
    seeds: () =>
      texts(`{"request_id":"r","data":{"batch_results":[{"ciphertext":"vault:v3:${base64Canary}"},{"error":"x"}]}}`),
    format: json,
    run(body, reach) {
      const items = [1, 2].map(() => ({ plaintext: Buffer.from(canary), associatedData: Buffer.alloc(0), version: 3 }));
      return told(readEncrypt(replyOf(200, body), items), reach);
    },
    isExpected: isKmsError,
  },
  {
    name: "redis",
    depths: { "as it was signed": 0.001, refused: 0.2 },
    seeds: () => texts(signValue(secret, "claviger:key/1", signedText), "x.y", "."),
    run(input, reach) {
      const text = verifyValue(secret, "claviger:key/1", input.toString("latin1"));
      // Its MAC may be spelled in several ways; what it is good for is the one text.
      if (text !== undefined && text !== signedText) throw new TypeError("a value is good that nobody signed");
      if (text !== undefined) reach("as it was signed");
      return undefined;
    },
    isExpected: nobody,
  },
  {
    name: "redis-keys",
    depths: { believed: 0.05, refused: 0.2 },
    seeds: () =>
      texts(
        signValue(secret, keyValue, JSON.stringify(keyState)),
        signValue(secret, keyValue, JSON.stringify({ ...keyState, failing: "encrypt" })),
      ),
    format: signed(keyValue),
    async run(input, reach) {
      const cache = createSharedKeyCache({
        redis: storeOf({ [keyValue]: input.toString() }),
        secret: () => secret,
        now: () => sequence,
      });
      if ((await cache.read("main:transit/prod", 1000)) !== undefined) reach("believed");
      return undefined;
    },
    isExpected: nobody,
  },
  {
    name: "redis-observations",
    depths: { "some are left out": 0.1, "as they were signed": 0.05, refused: 0.02 },
    seeds: () => texts(JSON.stringify(observed)),
    format: json,
    async run(input, reach) {
      let fields: Readonly<Record<string, unknown>>;
      try {
        fields = Object.fromEntries(JSON.parse(input.toString()) as readonly (readonly [string, unknown])[]);
      } catch {
        return undefined;
      }
      const texts = Object.fromEntries(
        Object.entries(fields).map(([field, value]) => [field, typeof value === "string" ? value : ""]),
      );
      const all = await readObservations(storeOf(texts), secret, uid);
      // One that was moved to another field, or changed, is none.
      for (const one of all) {
        const field = known.get(JSON.stringify(one));
        if (field === undefined || texts[field] === undefined) throw new TypeError("an observation that nobody signed");
      }
      reach(all.length === Object.keys(texts).length ? "as they were signed" : "some are left out");
      return undefined;
    },
    isExpected: nobody,
  },
  {
    name: "etcd",
    depths: { "kms with a key_id": 0.05, "kms without one": 0.002, other: 0.02, damaged: 0.02 },
    seeds: () => [
      ...texts("k8s:enc:kms:v1:claviger:\u0000\u0004abcd", "k8s:enc:aescbc:v1:key1:abc", "{}"),
      Buffer.concat([v2Prefix, Buffer.from("0a031616261201631a0461626364", "hex")]),
    ],
    format: behind(v2Prefix, protobuf),
    run(input, reach) {
      const stored = readStored(input);
      if (stored.kind !== "kms") reach(stored.kind);
      else reach(stored.keyId === undefined ? "kms without one" : "kms with a key_id");
      return undefined;
    },
    isExpected: nobody,
  },
];
