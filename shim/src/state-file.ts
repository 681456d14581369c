// What a shim must know after a restart in an outage: the last key_id, its epoch,
// and since when. Nothing in it is secret. (docs/architecture.md #shim.)
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { z, zInteger } from "@claviger/proto/runtime/config.ts";
import { type EpochClaim, parseEpoch } from "@claviger/proto/wire/epoch.ts";
import { parseReason, type Reason } from "@claviger/proto/wire/errors.ts";
import { limits } from "@claviger/proto/wire/protocol.ts";
import { createSteadyClock } from "@claviger/proto/runtime/clock.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";

// What a later release adds is passed over, so that going back to this one loses nothing.
const stored = z.looseObject({
  format: z.literal("claviger-shim-1"),
  /**
   * Whose key_id this is, as the shim's certificate names it: another cluster's is not ours to
   * show.
   */
  identity: z.string(),
  keyId: z.string().check(z.minLength(1), z.maxLength(limits.keyId)),
  epoch: z.optional(
    z.string().check(z.refine((text) => parseEpoch(text) !== undefined, { error: "must be an epoch" })),
  ),
  epochMac: z.optional(z.string()),
  goodAt: zInteger(0, Number.MAX_SAFE_INTEGER),
  refused: z.optional(
    z
      .string()
      .check(z.refine((text) => parseReason(text) !== undefined, { error: "must be a row of the error table" })),
  ),
});

/** The last good Status. */
export type LastGood = {
  readonly keyId: string;
  readonly epoch: EpochClaim | undefined;
  /** Unix milliseconds: when a gateway with a fresh view of its key last said so. */
  readonly goodAt: number;
  /** A gateway has since refused this cluster, and none has taken that back. */
  readonly refused?: Reason | undefined;
};

export interface StateFile {
  /** Undefined when there is none, or it is not usable, or of another cluster. */
  load(): LastGood | undefined;
  /** Writes whole, mode 0600. A file that cannot be written is logged and does no other harm. */
  save(last: LastGood): void;
  /** Removes the epoch: the next gateway is believed, whatever it names. False when there is none. */
  forget(): boolean;
}

/** @param now Unix milliseconds of the clock that `goodAt` is measured by */
export function createStateFile(
  file: string,
  identity: string,
  log: Log,
  now: () => number = createSteadyClock(),
): StateFile {
  let isFailing = false;
  const stateFile: StateFile = {
    load() {
      let text: string;
      try {
        text = readFileSync(file, "utf8");
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT")
          log.error({ event: "state-unreadable", file, err: error }, "the state file cannot be read");
        return undefined;
      }
      try {
        const result = z.safeParse(stored, JSON.parse(text));
        if (!result.success) throw new Error("of another form");
        const { identity: owner, keyId, epoch: epochText, epochMac: mac, goodAt, refused } = result.data;
        if (owner === identity) {
          // The clock was set back since: how old the state is cannot be known, and it must not
          // become younger as time goes on.
          if (goodAt > now() + 60_000)
            log.warn(
              { event: "state-from-future", file },
              "the state file is from the future; its age counts from now",
            );
          const epoch = epochText === undefined ? undefined : { text: epochText, ...(mac !== undefined && { mac }) };
          return { keyId, epoch, goodAt: Math.min(goodAt, now()), refused: parseReason(refused) };
        }
        log.warn({ event: "state-ignored", file }, "the state file is another cluster's; starting without it");
      } catch {
        log.error({ event: "state-damaged", file }, "the state file is damaged; starting without it");
      }
      return undefined;
    },
    save({ keyId, epoch, goodAt, refused }) {
      try {
        const text = JSON.stringify({
          format: "claviger-shim-1",
          identity,
          keyId,
          epoch: epoch?.text,
          epochMac: epoch?.mac,
          goodAt,
          refused,
        });
        writeFileSync(`${file}.tmp`, `${text}\n`, { mode: 0o600 });
        renameSync(`${file}.tmp`, file);
        isFailing = false;
      } catch (error) {
        if (!isFailing)
          log.error(
            { event: "state-unwritable", file, err: error },
            "the state file cannot be written; a restart during an outage would begin without a key_id",
          );
        isFailing = true;
      }
    },
    forget() {
      const last = stateFile.load();
      if (last?.epoch === undefined) return false;
      stateFile.save({ ...last, epoch: undefined });
      return true;
    },
  };
  return stateFile;
}
