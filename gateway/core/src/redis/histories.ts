// What each gateway has done in each ten seconds, for the last hour: a hash for each gateway, a field for each
// step, which is written over when its time is over. Kept in Redis, so it may be lost; a step that nobody has
// written is unknown, and not zero. (docs/architecture.md #histories.)
import { type Clock, systemClock } from "@claviger/proto/runtime/clock.ts";
import type { RedisStore } from "./client.ts";
import { signValue, verifyValue } from "./signed-value.ts";

/** Calls by operation, and those that were not served by their reason. */
export type Counts = {
  /** Status, Encrypt, Decrypt. */
  readonly calls: readonly [number, number, number];
  readonly refusals: Readonly<Record<string, number>>;
};

/** What a gateway knows of itself at the end of a step. */
export type Gauges = {
  /** Share of the step in which its event loop worked. */
  readonly eventLoop?: number;
  readonly connections?: number;
  /** Addresses of backends that do not serve. */
  readonly down?: readonly string[];
  /** The usual time of an answer by address, milliseconds. */
  readonly latency?: Readonly<Record<string, number>>;
  /** Batches that were sent to backends, and the calls in them. */
  readonly batches?: readonly [number, number];
};

/** Of one gateway. A cluster without calls is not in `clusters`. */
export type HistoryStep = Counts &
  Gauges & {
    /** When it begins: Unix milliseconds by the gateway's clock. */
    readonly at: number;
    readonly clusters: Readonly<Record<string, Counts>>;
    /** How many nodes of a cluster were seen within three minutes, by its uid: where somebody has counted. */
    readonly nodes?: Readonly<Record<string, number>>;
  };

export const stepMs = 10_000;
/** An hour, and as long as whoever sums it up may be late. */
export const keptSteps = 400;

const index = "histories";
const keepMs = keptSteps * stepMs;
/** A gateway says that it is there once in so many steps. */
const indexEvery = 6;

/** Which field a step stands in. */
function fieldOf(at: number): string {
  return String(Math.floor(at / stepMs) % keptSteps);
}

function nameOf(gateway: string): string {
  return `history:${gateway}`;
}

/** A step as it stands in Redis: what is empty is left out, and so is a cluster's word `refusals` where it has none. */
type StoredCounts = readonly [number, number, number, Readonly<Record<string, number>>?];
type StoredStep = Omit<HistoryStep, keyof Counts | "clusters"> & {
  readonly own: StoredCounts;
  readonly clusters: Readonly<Record<string, StoredCounts>>;
};

function toStored({ calls: [status, encrypt, decrypt], refusals }: Counts): StoredCounts {
  const isEmpty = Object.keys(refusals).length === 0;
  return isEmpty ? [status, encrypt, decrypt] : [status, encrypt, decrypt, refusals];
}

function fromStored([status, encrypt, decrypt, refusals = {}]: StoredCounts): Counts {
  return { calls: [status, encrypt, decrypt], refusals };
}

function mapped<A, B>(all: Readonly<Record<string, A>>, to: (one: A) => B): Readonly<Record<string, B>> {
  return Object.fromEntries(Object.entries(all).map(([name, one]) => [name, to(one)]));
}

/** @throws Error when Redis does not answer */
export async function writeHistoryStep(
  redis: Pick<RedisStore, "put">,
  secret: Uint8Array,
  gateway: string,
  { calls, refusals, clusters, ...rest }: HistoryStep,
): Promise<void> {
  const stored: StoredStep = { ...rest, own: toStored({ calls, refusals }), clusters: mapped(clusters, toStored) };
  const [name, field] = [nameOf(gateway), fieldOf(rest.at)];
  await redis.put(name, field, signValue(secret, `${name}/${field}`, JSON.stringify(stored)), keepMs);
}

/**
 * Steps of one gateway, in the order in which they are asked for; undefined for one that is not there.
 * @param steps when they begin
 * @throws Error when Redis does not answer
 */
export async function readHistorySteps(
  redis: Pick<RedisStore, "some">,
  secret: Uint8Array,
  gateway: string,
  steps: readonly number[],
): Promise<readonly (HistoryStep | undefined)[]> {
  if (steps.length === 0) return [];
  const name = nameOf(gateway);
  const values = await redis.some(name, steps.map(fieldOf));
  return values.map((value, i) => {
    const at = steps[i] ?? 0;
    const text = value === null ? undefined : verifyValue(secret, `${name}/${fieldOf(at)}`, value);
    if (text === undefined) return undefined;
    const { own, clusters, ...rest } = JSON.parse(text) as StoredStep;
    // The field may still have what it had an hour ago.
    return rest.at === at ? { ...rest, ...fromStored(own), clusters: mapped(clusters, fromStored) } : undefined;
  });
}

/**
 * The gateways that have written steps which are still kept.
 * @throws Error when Redis does not answer
 */
export async function readHistoryNames(
  redis: Pick<RedisStore, "all">,
  secret: Uint8Array,
  now: number,
): Promise<{ readonly names: readonly string[]; readonly ended: readonly string[] }> {
  const names: string[] = [];
  const ended: string[] = [];
  for (const [name, value] of Object.entries(await redis.all(index))) {
    const at = Number(verifyValue(secret, `${index}/${name}`, value) ?? Number.NaN);
    (now - at < keepMs ? names : ended).push(name);
  }
  return { names, ended };
}

export type HistoryReporter = {
  /** Writes what was counted last. Resolves soon, whatever becomes of it. */
  close(): Promise<void>;
};

/**
 * Writes each step when it is over.
 * @param take what was counted since it was asked last
 * @param secret as for the shared key cache; while it is not known nothing is written
 * @param now Unix milliseconds
 */
export function reportHistory({
  redis,
  secret,
  name,
  take,
  now = Date.now,
  clock = systemClock,
}: {
  readonly redis: Pick<RedisStore, "put" | "all" | "remove">;
  readonly secret: () => Uint8Array | undefined;
  readonly name: string;
  readonly take: () => Omit<HistoryStep, "at">;
  readonly now?: () => number;
  readonly clock?: Clock;
}): HistoryReporter {
  let timer: NodeJS.Timeout;
  let rounds = 0;

  const sayThere = async (key: Uint8Array): Promise<void> => {
    await redis.put(index, name, signValue(key, `${index}/${name}`, String(now())), keepMs);
    const { ended } = await readHistoryNames(redis, key, now());
    if (ended.length > 0) await redis.remove(index, ended);
  };
  const write = async (at: number): Promise<void> => {
    const key = secret();
    // Counted in any case: the next step has its own.
    const step = { ...take(), at };
    if (key === undefined) return;
    await writeHistoryStep(redis, key, name, step);
    if (rounds % indexEvery === 0) await sayThere(key);
    rounds += 1;
  };
  const begunAt = (): number => Math.floor(now() / stepMs) * stepMs;
  const round = (): void => {
    // A timer may be a little early.
    const end = Math.round(now() / stepMs) * stepMs;
    write(end - stepMs).catch(() => {});
    wait(end + stepMs);
  };
  const wait = (end: number): void => {
    timer = clock.setTimeout(round, end - now());
    timer.unref();
  };
  wait(begunAt() + stepMs);
  return {
    async close() {
      clock.clearTimeout(timer);
      await write(begunAt()).catch(() => {});
    },
  };
}
