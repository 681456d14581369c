// Which clusters' keys are older than the policy allows. A key is read once a day, and more often only while it
// is too old: an age that is known goes on by itself. (docs/architecture.md #fleet-view.)
import { refId } from "@claviger/gateway-core/src/key/key-id.ts";
import type { KeyRef, KeyState } from "@claviger/gateway-core/src/backend/port.ts";
import { keyOf } from "@claviger/gateway-core/src/registry/edit/text.ts";
import { createGate } from "@claviger/gateway-core/src/registry/gate.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";

export type OldKey = {
  readonly record: ClusterRecord;
  /** The one that encrypts. */
  readonly version: number;
  /** When it was made, Unix milliseconds. */
  readonly since: number;
  readonly maxAgeMs: number;
};

export interface KeyAges {
  /**
   * The keys of active clusters that are too old, and of how many that is not known yet. Never rejects, and waits
   * a second at most: what is read later stands in the next answer.
   */
  look(records: readonly ClusterRecord[]): Promise<{ readonly old: readonly OldKey[]; readonly unknown: number }>;
}

/** Where there is no such policy. */
export const noKeyAges: KeyAges = { look: () => Promise.resolve({ old: [], unknown: 0 }) };

/** Undefined: it could not be read, or no version encrypts yet. */
type Promoted = { readonly version: number; readonly since: number } | undefined;
type Known = { readonly at: number; readonly isRead: boolean; readonly promoted: Promoted };

const readTogether = 16;
const waitMs = 1000;
const freshMs = 86_400_000;
/** What is too old, or could not be read, is read again after this. */
const againMs = 15_000;

/**
 * @param describe the state of a key, as its backend has it
 * @param now Unix milliseconds
 */
export function createKeyAges({
  describe,
  maxAgeMs,
  now = Date.now,
}: {
  readonly describe: (ref: KeyRef) => Promise<KeyState>;
  readonly maxAgeMs: number;
  readonly now?: () => number;
}): KeyAges {
  const known = new Map<string, Known>();
  const reading = new Map<string, Promise<void>>();
  const gate = createGate(readTogether);

  const isOld = (promoted: Promoted): boolean => promoted !== undefined && now() - promoted.since > maxAgeMs;
  const read = async (id: string, ref: KeyRef): Promise<void> => {
    const found = await gate(() => describe(ref)).catch(() => undefined);
    const createdAt = found?.versions.get(found.minEncryption);
    const promoted =
      found === undefined || createdAt === undefined
        ? undefined
        : { version: found.minEncryption, since: createdAt * 1000 };
    known.set(id, { at: now(), isRead: found !== undefined, promoted });
    reading.delete(id);
  };
  const isDue = (id: string): boolean => {
    const one = known.get(id);
    if (one === undefined) return true;
    return now() - one.at > (one.isRead && !isOld(one.promoted) ? freshMs : againMs);
  };

  return {
    async look(records) {
      const active = records.filter(({ state }) => state === "active");
      // What nobody asks for any more is forgotten.
      for (const [id, { at }] of known) if (now() - at > 2 * freshMs) known.delete(id);
      const reads = active.flatMap((record) => {
        const ref = keyOf(record);
        const id = refId(ref);
        if (!reading.has(id) && isDue(id)) reading.set(id, read(id, ref));
        return reading.get(id) ?? [];
      });
      let timer: NodeJS.Timeout | undefined;
      const waited = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, waitMs);
      });
      await Promise.race([Promise.all(reads), waited]);
      clearTimeout(timer);
      const old: OldKey[] = [];
      let unknown = 0;
      for (const record of active) {
        const one = known.get(refId(keyOf(record)));
        if (one?.isRead !== true) unknown += 1;
        else if (one.promoted !== undefined && isOld(one.promoted)) old.push({ record, ...one.promoted, maxAgeMs });
      }
      return { old, unknown };
    },
  };
}
