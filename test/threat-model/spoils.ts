// What is known of a fleet's secrets before anything is searched for them, however hard they were to
// come by: the bytes of its Transit key, its gateway's Vault login, what Redis held before a rotation.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { request } from "undici";
import { parse } from "yaml";
import { kmsClient } from "../lab/kms.ts";
import { textsInMemory } from "../lab/memory.ts";
import type { Sought } from "./search.ts";
import type { World } from "./world.ts";

export type Spoils = {
  /** Every version of the key that both clusters use. */
  readonly transitKeys: readonly Sought[];
  /** Of the gateway at its Vault. */
  readonly credentials: readonly Sought[];
  readonly vaultToken: string;
  readonly roleId: string;
  readonly secretId: string;
  /** Of cluster-1, before its key was rotated, and now. */
  readonly earlierKeyId: string;
  readonly keyId: string;
  readonly earlierReports: ReadonlyMap<string, string>;
};

/** The certificate files of the node's shim. */
export function nodeFiles({ shim, lab }: World) {
  const { tls } = parse(readFileSync(shim.config, "utf8")) as { tls: { cert: string; key: string } };
  const key = readFileSync(tls.key);
  return {
    paths: [tls.cert, tls.key],
    loot: { ca: readFileSync(lab.pki.ca), cert: readFileSync(tls.cert), key },
    /** One that no other key has: the last full one. */
    keyLine: lineOf(key),
  };
}

/** The longest line of a PEM file that is like no other key's. */
export function lineOf(pem: Buffer): Buffer {
  const lines = pem.toString().trim().split("\n").slice(2, -1);
  const line = lines.toSorted((a, b) => b.length - a.length)[0];
  if (line === undefined) throw new Error("a PEM file of one line");
  return Buffer.from(line);
}

/** Asks until it is so. @returns whether it was, within this time */
export async function within(ms: number, isSo: () => Promise<boolean>): Promise<boolean> {
  for (const end = performance.now() + ms; ; await sleep(20)) {
    if (await isSo()) return true;
    if (performance.now() > end) return false;
  }
}

/** The reports of keys that stand in Redis, by their names. */
async function reportsIn({ redis }: World): Promise<ReadonlyMap<string, string>> {
  const client = redis.connect();
  try {
    const names = await client.keys("claviger:key:*");
    const values = await Promise.all(names.map((name) => client.get(name)));
    return new Map(names.map((name, i) => [name, values[i] ?? ""]));
  } finally {
    client.disconnect();
  }
}

/** Something that Vault takes as a token, out of the gateway's memory. @throws Error when there is none */
async function tokenIn({ gateway, vault }: World): Promise<string> {
  for (const text of textsInMemory(gateway.proc.pid, /\bs\.[A-Za-z0-9]{24}\b/g)) {
    const answer = await request(`${vault.addr}/v1/auth/token/lookup-self`, { headers: { "x-vault-token": text } });
    await answer.body.dump();
    if (answer.statusCode === 200) return text;
  }
  throw new Error("the gateway's memory holds no Vault token");
}

/** Rotates the key, so that it has an earlier version, and takes what is listed above. */
export async function takeSpoils(world: World): Promise<Spoils> {
  const { vault, shim, dir } = world;
  const kms = kmsClient(shim.socket);
  try {
    const [earlierReports, { keyId: earlierKeyId }] = [await reportsIn(world), await kms.status()];
    if (earlierReports.size === 0) throw new Error("Redis holds no reports of keys");
    await vault.call("POST", "transit/keys/shared/rotate");
    if (!(await within(10_000, async () => (await kms.status()).keyId !== earlierKeyId)))
      throw new Error("a rotation is not shown");
    const { keyId } = await kms.status();
    await vault.call("POST", "transit/keys/shared/config", { exportable: true });
    const { data } = await vault.call<{ data: { keys: Record<string, string> } }>(
      "GET",
      "transit/export/encryption-key/shared",
    );
    const vaultToken = await tokenIn(world);
    const [roleId, secretId] = ["role-id", "secret-id"].map((name) =>
      readFileSync(join(dir, `${world.gateway.name}.${name}`), "utf8"),
    ) as [string, string];
    return {
      earlierReports,
      earlierKeyId,
      keyId,
      roleId,
      secretId,
      vaultToken,
      transitKeys: Object.entries(data.keys).map(([version, key]) => ({
        what: `version ${version} of the Transit key`,
        bytes: Buffer.from(key, "base64"),
      })),
      credentials: [
        { what: "the gateway's secret-id", bytes: Buffer.from(secretId) },
        { what: "the gateway's Vault token", bytes: Buffer.from(vaultToken) },
      ],
    };
  } finally {
    kms.close();
  }
}
