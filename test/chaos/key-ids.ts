// The key_ids that one shim has shown, in order: one that was left behind must not come back.

export type KeyIdOrder = {
  /** A point in time, for `take`: to be asked for when a call begins. */
  now(): number;
  /** What an answer shows. False where it is older than one that was shown when its call began. */
  take(keyId: string, since: number): boolean;
  /** The newest one; undefined before the first. */
  latest(): string | undefined;
};

/** Answers of calls that run beside each other come in any order: only a call that began later is held against it. */
export function createKeyIdOrder(): KeyIdOrder {
  const shown: string[] = [];
  return {
    now: () => shown.length - 1,
    take(keyId, since) {
      const at = shown.indexOf(keyId);
      if (at < 0) shown.push(keyId);
      return at < 0 || at >= since;
    },
    latest: () => shown.at(-1),
  };
}
