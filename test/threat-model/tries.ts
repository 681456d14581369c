// What attackers try with what they hold, and an operator's answer to it.
import type { KeyPair } from "@claviger/gateway-core/src/pki/authority.ts";
import { openSealed } from "../demo/apiserver.ts";
import { openThief, type Thief } from "../lab/thief.ts";
import { claviger } from "../real/cli/claviger.ts";
import type { Kept, World } from "./world.ts";

export type Outcome = { readonly result: string; readonly succeeded: boolean };

/** Runs a command of an operator. @throws Error when it fails */
export async function operator({ lab }: World, ...args: readonly string[]): Promise<void> {
  const { status, err } = await claviger([...args, "--lab", lab.file]);
  if (status !== 0) throw new Error(`claviger ${args.join(" ")}: ${err}`);
}

export function sealedOf({ object }: Kept): { readonly ciphertext: Uint8Array; readonly keyId: string } {
  return { ciphertext: object.encryptedDekSource, keyId: object.keyId };
}

/** Has a seed decrypted and opens what it encrypts. */
export async function openThrough(thief: Thief, kept: Kept, etcdKey: string): Promise<Outcome> {
  const { reason, plaintext } = await thief.decrypt(sealedOf(kept));
  if (plaintext === undefined) return { result: `refused: \`${reason}\``, succeeded: false };
  const object = openSealed(plaintext, etcdKey, kept.object.encryptedData);
  return { result: "served, and the Secret opened with the seed", succeeded: object.includes(kept.value) };
}

export async function statusOf(thief: Thief): Promise<Outcome> {
  const reason = await thief.status();
  return reason === "ok"
    ? { result: "served", succeeded: true }
    : { result: `refused: \`${reason}\``, succeeded: false };
}

/** Calls with a certificate that was made for it. */
export async function withThief<T>(
  url: string,
  { ca, pair }: { readonly ca: Buffer; readonly pair: KeyPair },
  use: (thief: Thief) => Promise<T>,
): Promise<T> {
  return await pair.key.use(async (key) => {
    const thief = openThief(url, { ca, cert: pair.cert, key });
    try {
      return await use(thief);
    } finally {
      await thief.close();
    }
  });
}
