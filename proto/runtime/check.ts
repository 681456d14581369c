// What `--check` of a program does: tries what a start would try, all of it, and says in a table what
// it found. Each step has a name and a time; one that fails stops no other.
import { adviceFor } from "../wire/advice.ts";
import { KmsError } from "../wire/errors.ts";
import { ConfigError } from "./config.ts";
import { cureOfConnection, describeConnection } from "./network.ts";
import { formatTable, printable } from "./table.ts";

/**
 * `note` and `warning` are no failures: a start works. `not tried`: what it needs is not there, and has
 * a row of its own.
 */
export type Verdict = "ok" | "note" | "warning" | "failed" | "not tried";

export type Finding = {
  readonly verdict: Verdict;
  /** What was seen, or what is wrong. */
  readonly found: string;
  /** What to do about it. */
  readonly cure?: string | undefined;
};

export type CheckRow = Finding & { readonly name: string };

/** A step's own failure: what is wrong, and what to do. */
export class CheckError extends Error {
  override readonly name = "CheckError";
  readonly cure: string | undefined;

  constructor(found: string, cure?: string) {
    super(found);
    this.cure = cure;
  }
}

/** What a step found, and what later steps need of it. */
export type Found<T> = {
  readonly found: string;
  readonly value: T;
  /** Beside the row that is ok, or in its place where `found` is empty. */
  readonly more?: readonly Finding[];
};

export type Check = {
  /**
   * Runs a step and adds its rows. Rejects with nothing but a bug.
   * @returns undefined when it failed
   */
  step<T>(name: string, run: (signal: AbortSignal) => Promise<Found<T>> | Found<T>): Promise<T | undefined>;
  /** A row of its own. */
  add(name: string, finding: Finding): void;
  /** The rows, in the order in which the steps began. */
  rows(): readonly CheckRow[];
};

/** The longest time of a step, milliseconds. */
const stepMs = 5000;

/** The innermost message says the most; those of KmsError are for callers far away. */
function innermost(error: Error): Error {
  return error.cause instanceof Error ? innermost(error.cause) : error;
}

function kmsFinding(error: KmsError): Finding {
  const { message } = innermost(error);
  // A system's code, or the name of a handshake's failure.
  const [code = ""] = /^[A-Z_0-9/]+(?=$|:)|(?<=: )[a-z_]+(?=, )/.exec(message) ?? [];
  const found = describeConnection(code) ?? `${message} (${error.reason})`;
  return {
    verdict: "failed",
    found,
    cure: cureOfConnection(code) ?? adviceFor(error.reason),
  };
}

/** What an error says, as rows; several problems of a configuration are several. */
export function findingsOf(error: unknown): readonly Finding[] {
  if (error instanceof CheckError) return [{ verdict: "failed", found: error.message, cure: error.cure }];
  if (error instanceof ConfigError)
    return error.problems.map((found) => ({ verdict: "failed", found: found.replaceAll(/\s+/g, " ") }));
  if (error instanceof KmsError) return [kmsFinding(error)];
  if (!(error instanceof Error)) throw error;
  const { code } = error as NodeJS.ErrnoException;
  // What has no code is a bug of ours.
  if (code === undefined) throw error;
  return [{ verdict: "failed", found: describeConnection(code) ?? error.message, cure: cureOfConnection(code) }];
}

async function within<T>(run: (signal: AbortSignal) => Promise<T> | T, ms: number): Promise<T> {
  const stop = new AbortController();
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    late.reject(new CheckError(`no answer within ${ms / 1000} s`, "see what holds it up: the network, or the far end"));
    stop.abort();
  }, ms);
  try {
    return await Promise.race([Promise.resolve(run(stop.signal)), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** @param ms the longest time of a step */
export function createCheck(ms: number = stepMs): Check {
  const slots: CheckRow[][] = [];
  const open = (name: string): ((findings: readonly Finding[]) => void) => {
    const slot: CheckRow[] = [];
    slots.push(slot);
    return (findings) => void slot.push(...findings.map((finding) => ({ name, ...finding })));
  };
  return {
    async step(name, run) {
      const put = open(name);
      try {
        const { found, value, more = [] } = await within(run, ms);
        put([...(found === "" ? [] : [{ verdict: "ok" as const, found }]), ...more]);
        return value;
      } catch (error) {
        put(findingsOf(error));
        return undefined;
      }
    },
    add: (name, finding) => open(name)([finding]),
    rows: () => slots.flat(),
  };
}

/** Does a start work, and all that it needs? */
export function isGood(rows: readonly CheckRow[]): boolean {
  return rows.every(({ verdict }) => verdict !== "failed");
}

/** The rows for people; what to do stands below what is wrong. */
export function formatRows(rows: readonly CheckRow[]): string {
  const lines = rows.flatMap(({ name, verdict, found, cure }) => [
    [name, verdict, found],
    ...(cure === undefined ? [] : [["", "", `what to do: ${cure}`]]),
  ]);
  const count = (wanted: Verdict): string => `${rows.filter(({ verdict }) => verdict === wanted).length} ${wanted}`;
  const sums = (["ok", "note", "warning", "failed", "not tried"] as const).filter((verdict) =>
    rows.some((row) => row.verdict === verdict),
  );
  return `${formatTable(["check", "verdict", "found"], lines)}\n${printable(sums.map(count).join(", "))}\n`;
}
