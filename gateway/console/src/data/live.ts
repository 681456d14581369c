// The stream of events, and what a page does where there is none: it says so, and readings come more often.
import { type ReadonlySignal, signal } from "@preact/signals";
import type { Api } from "../api/client.ts";
import { type ApiError, toApiError } from "../api/failure.ts";
import type { FleetEvent } from "../api/json.ts";

/** `polling` for the reason that the failure says; `since` in Unix milliseconds. */
export type LiveState =
  | { readonly kind: "starting" }
  | { readonly kind: "live"; readonly since: number }
  | { readonly kind: "polling"; readonly since: number; readonly failure: ApiError | undefined };

export type Live = { readonly state: ReadonlySignal<LiveState>; run(signal: AbortSignal): Promise<void> };

const firstWaitMs = 500;
const longestWaitMs = 30_000;

export function createLive({
  api,
  onEvent,
  wait,
  now,
}: {
  readonly api: Pick<Api, "watch">;
  readonly onEvent: (event: FleetEvent) => void;
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly now: () => number;
}): Live {
  const state = signal<LiveState>({ kind: "starting" });
  let cursor = "";

  const follow = async (signal: AbortSignal): Promise<ApiError | undefined> => {
    try {
      for await (const event of api.watch(cursor, signal)) {
        cursor = event.cursor ?? cursor;
        if (state.peek().kind !== "live") state.value = { kind: "live", since: now() };
        if (event.kind !== "heartbeat") onEvent(event);
      }
      return undefined;
    } catch (error) {
      return toApiError(error);
    }
  };

  return {
    state,
    async run(signal) {
      let waitMs = firstWaitMs;
      while (!signal.aborted) {
        const failure = await follow(signal);
        if (signal.aborted) return;
        if (state.peek().kind === "live") waitMs = firstWaitMs;
        // A place that is lost has nothing to go on from.
        if (failure?.code === "resource_exhausted") cursor = "";
        const before = state.peek();
        state.value = { kind: "polling", since: before.kind === "polling" ? before.since : now(), failure };
        await wait(waitMs, signal);
        waitMs = Math.min(longestWaitMs, waitMs * 2);
      }
    },
  };
}
