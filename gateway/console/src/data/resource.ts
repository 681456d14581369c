// Something that a page shows and that is read from the service again and again while it is shown. What was read
// last stays, with its age, when the next reading fails.
import { type ReadonlySignal, signal } from "@preact/signals";
import { type ApiError, toApiError } from "../api/failure.ts";
import type { FleetEvent } from "../api/json.ts";

/** `at` is when `value` was read, Unix milliseconds. */
export type Loaded<T> = {
  readonly value: T | undefined;
  readonly at: number | undefined;
  readonly failure: ApiError | undefined;
};

export type Resource<T> = {
  readonly state: ReadonlySignal<Loaded<T>>;
  /** Reads it now; once more where it is being read. Never rejects. */
  refresh(): Promise<void>;
  /** Reads it from now on, at least so often, until the function that it returns is called. */
  follow(everyMs?: number): () => void;
  /** Changes what is shown until the next reading. */
  patch(change: (value: T) => T): void;
  /** Takes note of an event: reads again where it is followed and concerned. */
  hear(event: FleetEvent): void;
};

export type ResourceSettings<T> = {
  /** @param publish shows a part of it where nothing was shown before */
  readonly load: (publish: (part: T) => void) => Promise<T>;
  /** How long from the end of one reading to the next, milliseconds; where one takes long, five times that. */
  readonly everyMs: () => number;
  readonly concerns?: (event: FleetEvent) => boolean;
};

/** What a resource needs of the page that it is on. */
export type Surroundings = {
  readonly now: () => number;
  /** Resolves after a time, or as soon as the signal aborts; not while nobody can see the page. */
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>;
};

const restShare = 5;
/** What could not be read is tried again after so long at most. */
const againMs = 2000;

export function createResource<T>(
  { load, everyMs, concerns = () => false }: ResourceSettings<T>,
  { now, wait }: Surroundings,
): Resource<T> {
  const state = signal<Loaded<T>>({ value: undefined, at: undefined, failure: undefined });
  /** What each follower asks for; as often as is usual where it asks for nothing. */
  const followers = new Map<symbol, number>();
  let running: Promise<void> | undefined;
  let isWantedAgain = false;
  let end = new AbortController();
  let pause = new AbortController();

  const read = async (): Promise<void> => {
    const isFirst = state.peek().value === undefined;
    const at = now();
    try {
      const value = await load((part) => {
        if (isFirst) state.value = { value: part, at, failure: undefined };
      });
      state.value = { value, at, failure: undefined };
    } catch (error) {
      state.value = { ...state.peek(), failure: toApiError(error) };
    }
  };
  const refresh = (): Promise<void> => {
    if (running !== undefined) {
      isWantedAgain = true;
      return running;
    }
    running = (async () => {
      do {
        isWantedAgain = false;
        await read();
      } while (isWantedAgain);
      running = undefined;
    })();
    return running;
  };
  const run = async (signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      const began = now();
      await refresh();
      const usual = Math.min(everyMs(), ...followers.values());
      const next = state.peek().failure === undefined ? usual : Math.min(usual, againMs);
      pause = new AbortController();
      await wait(Math.max(next, (now() - began) * restShare), AbortSignal.any([signal, pause.signal]));
    }
  };

  return {
    state,
    refresh,
    follow(ms = Number.POSITIVE_INFINITY) {
      const follower = Symbol();
      followers.set(follower, ms);
      if (followers.size === 1) {
        end = new AbortController();
        void run(end.signal);
      } else if (ms < everyMs()) pause.abort();
      return () => {
        if (followers.delete(follower) && followers.size === 0) end.abort();
      };
    },
    patch(change) {
      const { value, ...last } = state.peek();
      if (value !== undefined) state.value = { ...last, value: change(value) };
    },
    hear(event) {
      if (followers.size > 0 && (event.kind === "list-again" || concerns(event))) void refresh();
    },
  };
}
