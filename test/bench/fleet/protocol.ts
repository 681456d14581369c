// What the scenarios and the processes of simulated shims tell each other.

/** A shim's place in the whole fleet, its names, and the gateways in its configuration. */
export type Identity = {
  readonly index: number;
  readonly cluster: string;
  readonly node: string;
  readonly gateways: readonly string[];
};

/** `own`: the shim's own code. `light`: the least that asks for Status, a tenth of its memory. */
export type ShimKind = "own" | "light";

/** A CA as PEM texts: these processes sign the certificates of their own shims. */
export type CaTexts = { readonly cert: string; readonly key: string };

export type Kind = "status" | "encrypt" | "decrypt";

/** A call that was answered well. Times are Unix milliseconds, durations milliseconds. */
export type Sample = {
  readonly at: number;
  readonly took: number;
  readonly kind: Kind;
  readonly shim: number;
  /** A Status with the last key_id, which no gateway has confirmed. */
  readonly isInGrace: boolean;
};
export type Failure = { readonly at: number; readonly kind: Kind; readonly shim: number; readonly reason: string };
/** A shim shows another key_id than before. */
export type Shown = { readonly at: number; readonly shim: number; readonly keyId: string };

/** All that was recorded since the last time. */
export type Taken = {
  readonly samples: readonly Sample[];
  readonly failures: readonly Failure[];
  readonly shown: readonly Shown[];
  /** When each connection was made, its handshake done; when an attempt failed. */
  readonly connected: readonly number[];
  readonly refused: readonly number[];
  /** How late the event loops of the simulated shims were, milliseconds: p99 and greatest of the worst process. */
  readonly late: { readonly p99: number; readonly max: number };
};

/** Where and by whom a flood comes: each identity has up to 50 of the connections. */
export type Flood = {
  readonly identities: readonly Identity[];
  readonly connections: number;
  readonly perSecond: number;
  readonly seconds: number;
};

export type FloodResult = {
  readonly sent: number;
  readonly seconds: number;
  readonly outcomes: ReadonlyMap<string, number>;
  readonly took: readonly number[];
};

/** Requests straight at the gateways, at a pace of their own, over connections that stay. */
export type Stream = {
  /** Half Encrypts and half Decrypts, in all. */
  readonly perSecond: number;
  /** Connections, spread over all nodes and gateways. Each has one request at a time. */
  readonly connections: number;
  /** Each so manieth request makes a connection for itself; 0 for none. */
  readonly freshEvery: number;
  /** How many may wait for a free connection; one more is held back, and not sent. */
  readonly waiting: number;
  /** Deadlines of the requests in turn, milliseconds. */
  readonly deadlines: readonly number[];
};

/** Each command and what it answers. */
export type Commands = {
  /** Signs the certificates of these; milliseconds. */
  readonly sign: {
    readonly ask: { readonly ca: CaTexts; readonly identities: readonly Identity[]; readonly kind: ShimKind };
    readonly answer: number;
  };
  /** Starts these shims, so many at once, each until its first Status; how many attempts failed. */
  readonly connect: {
    readonly ask: { readonly indices: readonly number[]; readonly atOnce: number };
    readonly answer: number;
  };
  /** Status of each shim in turn, so many in a second; 0 ends it. */
  readonly statuses: { readonly ask: number; readonly answer: void };
  /** Encrypts and Decrypts through all shims in turn, so many in a second; 0 ends it. */
  readonly calls: { readonly ask: number; readonly answer: void };
  /** Encrypts so many seeds through each shim, for `restart`. */
  readonly seal: { readonly ask: number; readonly answer: void };
  /**
   * All apiservers start at once: Status, an Encrypt, then `copies` Decrypts of each seed together.
   * Milliseconds that each of them took. `isCold`: the shims start as well.
   */
  readonly restart: {
    readonly ask: { readonly copies: number; readonly isCold: boolean };
    readonly answer: readonly number[];
  };
  /** Makes the connections of a flood, which `flood` starts. */
  readonly openFlood: { readonly ask: Flood; readonly answer: void };
  readonly flood: { readonly ask: null; readonly answer: FloodResult };
  /** Starts a stream, or ends the one that runs: how many requests it has held back. */
  readonly stream: { readonly ask: Stream | null; readonly answer: number };
  readonly take: { readonly ask: null; readonly answer: Taken };
};

export type CommandName = keyof Commands;
export type Question = {
  readonly [N in CommandName]: { readonly name: N; readonly ask: Commands[N]["ask"] };
}[CommandName];
export type Answer = { readonly value: unknown } | { readonly error: string };
