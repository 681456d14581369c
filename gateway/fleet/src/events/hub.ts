// Gives events to those who follow them: each reader has a place of its own in what happened last, so a slow one
// holds up nobody and is ended when its place is no longer kept.
import { randomBytes } from "node:crypto";
import type { FleetEvent } from "./event.ts";

/** How many events are kept for those who come back or read slowly. */
const kept = 1000;

/** What came after a cursor, each with the cursor after it; or that this is not known. */
export type Batch = {
  readonly isGap: boolean;
  readonly events: readonly { readonly event: FleetEvent; readonly cursor: string }[];
};

export interface EventHub {
  publish(event: FleetEvent): void;
  /** Where it stands now. */
  cursor(): string;
  /** What came after a cursor. Never waits. */
  after(cursor: string): Batch;
  /** Resolves when there is more than at that cursor, after so many milliseconds, or when the signal aborts. */
  wait(cursor: string, milliseconds: number, signal: AbortSignal): Promise<void>;
  /** What was kept counts no longer: nobody has looked for a while. */
  forget(): void;
}

export function createEventHub(size = kept): EventHub {
  /** Another one after each gap, and in each process: its numbers are not those of another. */
  let epoch = randomBytes(6).toString("hex");
  let ring: FleetEvent[] = [];
  /** The number of the next event. */
  let next = 0;
  let waiting = new Set<() => void>();

  const cursorAt = (sequence: number): string => `${epoch}.${sequence}`;
  const placeOf = (cursor: string): number | undefined => {
    const [, of, sequence] = /^([0-9a-f]{12})\.(\d{1,15})$/.exec(cursor) ?? [];
    if (of !== epoch || sequence === undefined) return undefined;
    const place = Number(sequence);
    return place > next || place < next - ring.length ? undefined : place;
  };
  return {
    publish(event) {
      ring.push(event);
      next += 1;
      // In halves, so that it is not moved with each event.
      if (ring.length > size * 2) ring = ring.slice(-size);
      const woken = waiting;
      waiting = new Set();
      for (const wake of woken) wake();
    },
    cursor: () => cursorAt(next),
    after(cursor) {
      const place = placeOf(cursor);
      if (place === undefined) return { isGap: true, events: [] };
      const events = ring.slice(ring.length - (next - place));
      return { isGap: false, events: events.map((event, i) => ({ event, cursor: cursorAt(place + i + 1) })) };
    },
    async wait(cursor, milliseconds, signal) {
      if (signal.aborted || placeOf(cursor) !== next) return;
      await new Promise<void>((resolve) => {
        const done = (): void => {
          clearTimeout(timer);
          waiting.delete(done);
          signal.removeEventListener("abort", done);
          resolve();
        };
        const timer = setTimeout(done, milliseconds);
        signal.addEventListener("abort", done, { once: true });
        waiting.add(done);
      });
    },
    forget() {
      epoch = randomBytes(6).toString("hex");
      ring = [];
      next = 0;
    },
  };
}
