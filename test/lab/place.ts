// Where a part of the lab runs: on this machine's loopback, or in a network namespace of its own.

export type Place = {
  /** The address that it listens at. */
  readonly host: string;
  /** What its command line begins with, to get there. */
  readonly enter: readonly string[];
};

export const loopback: Place = { host: "127.0.0.1", enter: [] };
