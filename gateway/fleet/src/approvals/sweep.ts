// Takes away what was decided or has expired long ago: the audit records stay. Each replica does it.
import type { Log } from "@claviger/proto/runtime/log.ts";
import { type ApprovalStore, isApprovalId, timeOf } from "./pending.ts";

const everyMs = 6 * 3600_000;
const callMs = 10_000;
/** In one round: an approval is one call to the store. */
const most = 1000;

export type Sweep = { close(): void };

/**
 * Looks now, and at intervals.
 * @param keepMs after a change was asked for; longer than any change waits
 * @param now Unix milliseconds
 */
export function startSweep({
  store,
  keepMs,
  log,
  now = Date.now,
  onRound = () => {},
}: {
  readonly store: Pick<ApprovalStore, "list" | "remove">;
  readonly keepMs: number;
  readonly log: Log;
  readonly now?: () => number;
  readonly onRound?: (removed: number) => void;
}): Sweep {
  const signal = (): AbortSignal => AbortSignal.timeout(callMs);
  const round = async (): Promise<void> => {
    let removed = 0;
    try {
      const isOld = (id: string): boolean => isApprovalId(id) && timeOf(id) * 1000 < now() - keepMs;
      for (const id of (await store.list(signal())).filter(isOld).slice(0, most)) {
        await store.remove(id, signal());
        removed += 1;
      }
    } catch (err) {
      log.warn({ event: "approvals-kept", err }, "approvals that are old could not be taken away");
    }
    onRound(removed);
  };
  void round();
  const timer = setInterval(() => void round(), everyMs).unref();
  return { close: () => clearInterval(timer) };
}
