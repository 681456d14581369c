// A Redis in memory, for unit tests of what stands above the port. It keeps the contract in
// test/contracts/redis.ts.
import type { RedisStore } from "@claviger/gateway-core/src/redis/client.ts";

type Entry = { readonly value: string | Readonly<Record<string, string>>; readonly until: number };
type Listener = (message: string) => void;

export type FakeRedis = {
  /** What it holds, by key: a value, or the fields of a hash. A test may write to it as anybody may to Redis. */
  readonly entries: Map<string, Entry>;
  /** Calls so far that have changed something. */
  writes: number;
  /** While true every call rejects; what it held is lost when that begins. */
  isAway: boolean;
  /** Another client. */
  open(): RedisStore;
  /** Sets a hash as a whole. */
  setHash(key: string, fields: Readonly<Record<string, string>>): void;
  /** The fields of a hash as they are held. */
  hash(key: string): Readonly<Record<string, string>>;
};

/** @param now Unix milliseconds */
export function createFakeRedis(now: () => number = Date.now): FakeRedis {
  const entries = new Map<string, Entry>();
  const listeners = new Map<RedisStore, Map<string, Listener>>();
  const back = new EventTarget();
  let isAway = false;
  const live = (key: string): Entry | undefined => {
    const entry = entries.get(key);
    if (entry !== undefined && entry.until > now()) return entry;
    entries.delete(key);
    return undefined;
  };
  const hash = (key: string): Readonly<Record<string, string>> => {
    const value = live(key)?.value ?? {};
    if (typeof value === "string") throw new Error("WRONGTYPE");
    return value;
  };
  const fake: FakeRedis = {
    entries,
    writes: 0,
    get isAway() {
      return isAway;
    },
    set isAway(next) {
      isAway = next;
      if (next) entries.clear();
      else back.dispatchEvent(new Event("ready"));
    },
    setHash: (key, fields) => void entries.set(key, { value: fields, until: Number.POSITIVE_INFINITY }),
    hash,
    open() {
      let isClosed = false;
      const served = <T>(act: () => T): Promise<T> =>
        isAway || isClosed ? Promise.reject(new Error("Connection is closed.")) : Promise.resolve().then(act);
      // A write counts, and is seen by the next call, before its promise resolves.
      const written = <T>(act: () => T): Promise<T> => {
        if (isAway || isClosed) return Promise.reject(new Error("Connection is closed."));
        fake.writes += 1;
        return Promise.resolve(act());
      };
      const store: RedisStore = {
        get: (key) =>
          served(() => {
            const value = live(key)?.value ?? null;
            if (value !== null && typeof value !== "string") throw new Error("WRONGTYPE");
            return value;
          }),
        set: (key, value, milliseconds) => written(() => void entries.set(key, { value, until: now() + milliseconds })),
        put: (key, field, value, milliseconds) =>
          written(
            () => void entries.set(key, { value: { ...hash(key), [field]: value }, until: now() + milliseconds }),
          ),
        putAll: (key, fields, milliseconds) =>
          written(() => void entries.set(key, { value: { ...hash(key), ...fields }, until: now() + milliseconds })),
        remove: (key, fields) =>
          written(() => {
            const entry = live(key);
            const rest = Object.entries(hash(key)).filter(([field]) => !fields.includes(field));
            if (entry === undefined) return;
            if (rest.length === 0) entries.delete(key);
            else entries.set(key, { ...entry, value: Object.fromEntries(rest) });
          }),
        all: (key) => served(() => ({ ...hash(key) })),
        some: (key, fields) => served(() => fields.map((field) => hash(key)[field] ?? null)),
        tryAcquire: (key, milliseconds, value = "1") =>
          written(() => {
            if (live(key) !== undefined) return false;
            entries.set(key, { value, until: now() + milliseconds });
            return true;
          }),
        publish: (channel, message) =>
          served(() => {
            for (const own of listeners.values()) own.get(channel)?.(message);
          }),
        subscribe: (channel, onMessage) => void listeners.get(store)?.set(channel, onMessage),
        async connected(signal) {
          if (!isAway) return;
          await new Promise<void>((resolve, reject) => {
            back.addEventListener("ready", () => resolve(), { once: true, signal });
            signal.addEventListener("abort", () => reject(new Error("connection closed")), { once: true });
          });
        },
        health: () => (isAway || isClosed ? "connection closed" : "ok"),
        close() {
          isClosed = true;
          listeners.delete(store);
        },
      };
      listeners.set(store, new Map());
      return store;
    },
  };
  return fake;
}
