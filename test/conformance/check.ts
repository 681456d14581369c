// What a check is, what it may ask of its target, and how a run of them is reported. Black box:
// sockets, processes, hooks.
import { connect, type Connection } from "./rpc.ts";

/** A plugin process that a check started. */
export type Instance = {
  readonly pid: number;
  /** Resolves with the exit code (null when killed). */
  readonly exited: Promise<number | null>;
  readonly output: () => string;
  signal(name: NodeJS.Signals): void;
};

/** The plugin under test. What is missing here makes the checks that need it `not run`. */
export type Target = {
  /** A running plugin's socket. */
  readonly socket: string;
  /** Another node's plugin, of the same cluster. */
  readonly secondSocket?: string;
  /**
   * Starts a further instance on this path; with its backend not reachable, or under this umask, or
   * taking over a live one, where asked.
   */
  launch?(
    socket: string,
    options?: { readonly unreachable?: boolean; readonly umask?: number; readonly takeover?: boolean },
  ): Promise<Instance>;
  /** A new version of the key that encrypts. */
  rotate?(): Promise<void>;
  /** Deletes the key and makes it anew under the same name. */
  recreate?(): Promise<void>;
  /** How long a rotation may take to be seen everywhere, milliseconds. */
  readonly propagationMs?: number;
  readonly backend?: {
    down?(): Promise<void>;
    up?(): Promise<void>;
    hang?(): Promise<void>;
    forbidDecrypt?(): Promise<void>;
    allowDecrypt?(): Promise<void>;
    /** The backend answers everything like this, until `up`. */
    answer?(fault: string): Promise<void>;
    /** Which gRPC codes are documented for which fault. */
    readonly faults?: Readonly<Record<string, readonly number[]>>;
    /** Encrypt and Decrypt calls that reached the backend so far. */
    calls?(): Promise<number>;
  };
  /** All that the plugin has logged. */
  logs?(): Promise<string>;
  /** Resident memory of the plugin in bytes. */
  rss?(): Promise<number>;
};

/** Names of the optional parts of a target, for `needs`. */
export type Need =
  | "secondSocket"
  | "launch"
  | "rotate"
  | "recreate"
  | "logs"
  | "rss"
  | `backend.${keyof NonNullable<Target["backend"]>}`;

export type Check = {
  readonly id: number;
  readonly title: string;
  readonly needs: readonly Need[];
  /** Resolves with what was measured; throws with what was wrong. */
  run(target: Target, at: Tools): Promise<string>;
};

export type Result = {
  readonly id: number;
  readonly title: string;
  readonly result: "pass" | "fail" | "not-run";
  readonly evidence: string;
  readonly seconds: number;
};

/** Given to each check: a folder of its own, connections that are closed after it. */
export type Tools = {
  readonly dir: string;
  open(socket?: string): Promise<Connection>;
};

/** Says what is wrong, unless it holds. */
export const expect: (holds: boolean, otherwise: string) => asserts holds = (holds, otherwise) => {
  if (!holds) throw new Error(otherwise);
};

function has(target: Target, need: Need): boolean {
  const [first = "", second] = need.split(".");
  const part = (target as unknown as Record<string, unknown>)[first];
  return second === undefined
    ? part !== undefined
    : (part as Record<string, unknown> | undefined)?.[second] !== undefined;
}

/** Runs the checks one after the other. `dirOf` makes a folder for a check. */
export async function runChecks(
  checks: readonly Check[],
  target: Target,
  dirOf: (id: number) => string,
  onResult: (result: Result) => void,
): Promise<readonly Result[]> {
  const results: Result[] = [];
  for (const check of checks) {
    const began = performance.now();
    const { id, title } = check;
    const finish = (result: Result["result"], evidence: string): void => {
      const done = { id, title, result, evidence, seconds: Math.round((performance.now() - began) / 100) / 10 };
      results.push(done);
      onResult(done);
    };
    const missing = check.needs.filter((need) => !has(target, need));
    if (missing.length > 0) {
      finish("not-run", `the target gives no ${missing.join(", ")}`);
      continue;
    }
    const open: Connection[] = [];
    try {
      const tools: Tools = {
        dir: dirOf(id),
        async open(socket = target.socket) {
          const connection = await connect(socket);
          open.push(connection);
          return connection;
        },
      };
      finish("pass", await check.run(target, tools));
    } catch (error) {
      finish("fail", error instanceof Error ? error.message : String(error));
    } finally {
      for (const connection of open) connection.close();
    }
  }
  return results;
}
