// Reads request bodies. A body is memory that a caller makes the gateway hold: what all of them may
// hold together is bounded, what one identity may hold as well, and none is waited for long.
// (docs/architecture.md #limits.)
import type { IncomingMessage } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { abortReason, raceAbort } from "@claviger/proto/runtime/abort.ts";
import { newSecretBytes, zeroize } from "@claviger/proto/runtime/secret.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { createBuckets } from "@claviger/proto/runtime/buckets.ts";

export type BodyLimits = {
  /** Bytes of all bodies that are being read. */
  readonly totalBytes: number;
  /** Bytes of one identity's. */
  readonly identityBytes: number;
  /** Milliseconds from the first look at a body to its last byte. */
  readonly bodyMs: number;
};

export type BodyRequest = {
  /** Who pays: one text for each identity. */
  readonly identity: string;
  /** The largest body in bytes. */
  readonly limit: number;
  readonly signal: AbortSignal;
};

export interface Bodies {
  /**
   * The whole body in one buffer, which is the caller's to zeroize; the chunks are zeroized here.
   * @throws KmsError request_too_large, overloaded (too much is being read), deadline_exceeded (it
   * does not arrive), canceled (the caller left in the middle), or what the signal was aborted with
   */
  read(message: IncomingMessage, request: BodyRequest): Promise<Buffer>;
}

/** The content-length, or undefined where the body is chunked. */
function declaredLength({ headers }: IncomingMessage): number | undefined {
  const text = headers["content-length"];
  return text === undefined ? undefined : Number(text);
}

/** Bodies up to this size never wait for their turn. */
const smallBytes = 64 * 1024;
/**
 * What one identity's bodies may come to in a second, with as much in reserve: a node that sends more is
 * read more slowly, so that decrypting and holding it costs the others no time.
 */
const bytesPerSecond = 8 * 2 ** 20;

export function createBodies({ totalBytes, identityBytes, bodyMs }: BodyLimits): Bodies {
  let total = 0;
  const held = new Map<string, number>();

  const reserve = (identity: string, bytes: number): void => {
    const own = held.get(identity) ?? 0;
    if (total + bytes > totalBytes || own + bytes > identityBytes)
      throw new KmsError("overloaded", { cause: new Error("too many bytes of request bodies are being read") });
    total += bytes;
    held.set(identity, own + bytes);
  };
  const release = (identity: string, bytes: number): void => {
    total -= bytes;
    const own = (held.get(identity) ?? 0) - bytes;
    if (own > 0) held.set(identity, own);
    else held.delete(identity);
  };

  const rates = createBuckets();
  /** Waits until it is this body's turn. */
  const takeTurn = async (identity: string, bytes: number, signal: AbortSignal): Promise<void> => {
    const bucket = rates.of(identity, { perSecond: bytesPerSecond, full: bytesPerSecond });
    const waitMs = bytes <= smallBytes ? 0 : Math.max(0, ((bytes - bucket.tokens) * 1000) / bytesPerSecond);
    if (waitMs > bodyMs)
      throw new KmsError("overloaded", { cause: new Error("too many bytes of request bodies in a second") });
    bucket.tokens -= bytes;
    if (waitMs > 0) await raceAbort(sleep(waitMs, undefined, { ref: false }), signal);
  };

  const collect = (message: IncomingMessage, limit: number, signal: AbortSignal): Promise<Buffer> =>
    new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let size = 0;
      const end = (error: KmsError | undefined): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", onAbort);
        message.off("data", onData).off("end", onEnd).off("close", onClose);
        if (error === undefined) {
          const body = newSecretBytes(size);
          let at = 0;
          for (const chunk of chunks) at += chunk.copy(body, at);
          resolve(body);
        } else {
          discardBody(message);
          reject(error);
        }
        chunks.forEach(zeroize);
      };
      const onData = (chunk: Buffer): void => {
        size += chunk.length;
        chunks.push(chunk);
        if (size > limit) end(new KmsError("request_too_large"));
      };
      const onEnd = (): void => end(undefined);
      const onClose = (): void => end(new KmsError("canceled", { cause: new Error("the body broke off") }));
      const onAbort = (): void => end(abortReason(signal));
      const timer = setTimeout(
        () => end(new KmsError("deadline_exceeded", { cause: new Error("the body does not arrive") })),
        bodyMs,
      );
      // A body that breaks is an error event and then a close, which is what counts.
      message.on("error", () => {});
      if (signal.aborted) return onAbort();
      signal.addEventListener("abort", onAbort, { once: true });
      message.on("data", onData).on("end", onEnd).on("close", onClose);
      return undefined;
    });

  return {
    async read(message, { identity, limit, signal }) {
      const declared = declaredLength(message);
      if (declared !== undefined && declared > limit) throw new KmsError("request_too_large");
      const bytes = declared ?? limit;
      reserve(identity, bytes);
      try {
        await takeTurn(identity, bytes, signal);
        return await collect(message, limit, signal);
      } finally {
        release(identity, bytes);
      }
    },
  };
}

/** A body that nobody reads any more: what is there of it and what still comes is zeroized and dropped. */
export function discardBody(message: IncomingMessage): void {
  message.on("error", () => {}).on("data", zeroize);
  if (!message.destroyed) return;
  // No data event comes after the connection's end: what waits is taken out, chunk by chunk.
  for (let chunk = message.read() as Buffer | null; chunk !== null; chunk = message.read() as Buffer | null)
    zeroize(chunk);
}
