// Round trips through several shims, and what each of them shows as its key_id meanwhile.
import { setTimeout as sleep } from "node:timers/promises";
import type { KmsClient } from "./kms.ts";
import { type Load, startLoad } from "./load.ts";
import { until } from "./process-group.ts";

/**
 * What one encrypts, any of them decrypts: as apiservers on one etcd do. Failures are counted by
 * gRPC code.
 */
export function startShimLoad(clients: readonly KmsClient[], perSecond: number): Load {
  let turn = 0;
  const next = (): KmsClient => {
    const client = clients[turn++ % clients.length];
    if (client === undefined) throw new TypeError("no shims");
    return client;
  };
  return startLoad({
    perSecond,
    reasonOf: (error) =>
      `gRPC ${String((error as { readonly code?: number }).code)} ${(error as { readonly details?: string }).details ?? ""}`,
    encrypt: async (plaintext) => await next().encrypt(plaintext),
    decrypt: async (sealed) => {
      // Not the one that encrypted, half of the time.
      turn += Math.random() < 0.5 ? 1 : 0;
      return await next().decrypt(sealed);
    },
  });
}

/** What the shims showed, in order; one id for each shim, all asked at the same time. */
export type KeyIdHistory = readonly { readonly at: number; readonly ids: readonly string[] }[];

export type KeyIdWatch = {
  /** What each shim showed last; empty before the first look. */
  readonly latest: () => readonly string[];
  /**
   * Waits until all shims show one and the same key_id.
   * @param previous a key_id that does not count: the one before a rotation
   * @throws Error after 30 s, which no propagation takes: how long one took is in the history
   */
  agreed(previous?: string): Promise<string>;
  stop(): Promise<KeyIdHistory>;
};

/**
 * Asks all of them for Status every few milliseconds until `stop`. A Status that fails, or is not
 * ok, rejects `stop`.
 */
export function watchKeyIds(clients: readonly KmsClient[]): KeyIdWatch {
  const history: { readonly at: number; readonly ids: readonly string[] }[] = [];
  let isStopped = false;
  const one = async (client: KmsClient): Promise<string> => {
    const { healthz, keyId } = await client.status();
    if (healthz !== "ok") throw new Error(`Status says ${healthz}`);
    return keyId;
  };
  const run = async (): Promise<void> => {
    for (; !isStopped; await sleep(20)) history.push({ ids: await Promise.all(clients.map(one)), at: Date.now() });
  };
  const runner = run();
  runner.catch(() => {});
  const latest = (): readonly string[] => history.at(-1)?.ids ?? [];
  return {
    latest,
    agreed: (previous) =>
      until("all shims to show one key_id", undefined, async () => {
        // A Status that failed ends the watch: say so now.
        await Promise.race([runner.then(() => {}), sleep(0)]);
        const [first, ...others] = latest();
        return first !== previous && others.every((id) => id === first) ? first : undefined;
      }),
    async stop() {
      isStopped = true;
      await runner;
      return history;
    },
  };
}

/**
 * The key_ids that one shim showed one after the other; each stands once if none ever came back.
 */
export function shownBy(history: KeyIdHistory, shim: number): readonly string[] {
  return history.map(({ ids }) => ids[shim] ?? "").filter((id, at, all) => id !== all[at - 1]);
}

/** The longest time in milliseconds that the shims showed different key_ids. */
export function longestDifference(history: KeyIdHistory): number {
  let since: number | undefined;
  let longest = 0;
  for (const { at, ids } of history) {
    if (new Set(ids).size === 1) since = undefined;
    else longest = Math.max(longest, at - (since ??= at));
  }
  return longest;
}
