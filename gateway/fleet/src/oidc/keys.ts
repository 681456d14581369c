// The keys of one issuer, as they were read last: read anew when they are old or a token names another one, by
// one request at a time, and not at once again. Knows neither HTTP nor the form of a key.
// (docs/architecture.md #control-plane.)
import { steadyNow } from "@claviger/proto/runtime/clock.ts";
import { refuse } from "../refusal.ts";

/** So old keys are read anew. */
const freshMs = 300_000;
/** So long after one request there is no other. */
const coolDownMs = 10_000;

export interface IssuerKeys<K> {
  /** The keys that count now. @throws Refusal unavailable: there are none */
  current(): Promise<K>;
  /**
   * Other keys than those that a token was held against in vain; undefined where those were read a moment ago.
   * @throws Refusal unavailable: they cannot be read
   */
  newer(than: K): Promise<K | undefined>;
}

/**
 * @param read rejects with an Error whose message says why, without a secret
 * @param keepMs so long keys count after they were read, while they cannot be read again
 * @param onFailure hears of each request that failed
 */
export function createIssuerKeys<K>({
  issuer,
  read,
  keepMs,
  onFailure = () => {},
  now = steadyNow,
}: {
  readonly issuer: string;
  readonly read: () => Promise<K>;
  readonly keepMs: number;
  readonly onFailure?: (error: unknown) => void;
  readonly now?: () => number;
}): IssuerKeys<K> {
  let known: { readonly keys: K; readonly readAt: number } | undefined;
  let triedAt = Number.NEGATIVE_INFINITY;
  let failure: string | undefined;
  let flight: Promise<void> | undefined;

  const isOver = ({ readAt }: { readonly readAt: number }): boolean => now() - readAt >= Math.max(keepMs, freshMs);
  const attempt = async (): Promise<void> => {
    const at = now();
    triedAt = at;
    try {
      known = { keys: await read(), readAt: at };
      failure = undefined;
    } catch (error) {
      failure = error instanceof Error ? error.message : "unknown error";
      onFailure(error);
    }
  };
  /** Resolves when nothing more is to be learned now. */
  const refresh = (): Promise<void> => {
    if (flight === undefined && now() - triedAt >= coolDownMs)
      flight = attempt().finally(() => {
        flight = undefined;
      });
    return flight ?? Promise.resolve();
  };
  const away = (): Error =>
    refuse("unavailable", `the keys of the issuer ${issuer} cannot be read (${failure ?? "not yet"}); try again`);

  return {
    async current() {
      if (known !== undefined && now() - known.readAt < freshMs) return known.keys;
      // While the issuer is away nobody waits for it who can be judged without.
      const canGoOn = known !== undefined && failure !== undefined && !isOver(known);
      const news = refresh();
      if (!canGoOn) await news;
      if (known === undefined || isOver(known)) throw away();
      return known.keys;
    },
    async newer(than) {
      if (known?.keys === than) await refresh();
      if (failure !== undefined) throw away();
      return known?.keys === than ? undefined : known?.keys;
    },
  };
}
