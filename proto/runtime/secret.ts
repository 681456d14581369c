// A secret text (a token, a secret-id) that no log, error or JSON can show.

const inspect = Symbol.for("nodejs.util.inspect.custom");

/** Prints `[secret]` everywhere; the text is reachable through `use` alone. */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** Hands the text to `fn` and returns what that returns. Do not let the text outlive the call. */
  use<T>(fn: (text: string) => T): T {
    return fn(this.#text);
  }

  toString(): string {
    return "[secret]";
  }

  toJSON(): string {
    return "[secret]";
  }

  [inspect](): string {
    return "[secret]";
  }
}

/** Overwrites bytes that held key material. The caller must be their only owner. */
export function zeroize(bytes: Uint8Array): void {
  bytes.fill(0);
}

/**
 * Room for key material where the garbage collector leaves no copies of it: V8 keeps arrays of up
 * to 64 bytes among its objects, and moves those about.
 * @returns zeroes; the caller's to zeroize
 */
export function newSecretBytes(length: number): Buffer {
  return Buffer.from(new ArrayBuffer(length));
}
