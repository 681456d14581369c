// One HTTP/1.1 request on a pool of kept connections, which are dear: a request under way can be given
// up only with its connection, so one that lost to a faster end goes on for a while, unread, and one
// that was given up before it was sent is never sent. Knows no undici but the shape of its `dispatch`,
// and nothing of what is asked. (docs/architecture.md #endpoints.)
import type { IncomingHttpHeaders } from "node:http";
import { abortReason } from "./abort.ts";
import { lost } from "./endpoint-round.ts";

type Controller = { abort(reason: Error): void };

/** What undici calls, in this order. */
type Handler = {
  onRequestStart(controller: Controller): void;
  onResponseStart(controller: Controller, statusCode: number, headers: IncomingHttpHeaders): void;
  onResponseData(controller: Controller, chunk: Buffer): void;
  onResponseEnd(): void;
  onResponseError(controller: Controller, error: Error): void;
};

type Asked = {
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Read until the exchange is over. */
  readonly body?: Uint8Array;
};

/** A pool or a client of undici. */
export type Dispatcher = { dispatch(asked: Asked, handler: Handler): boolean };

export type ExchangeRequest = Asked & {
  /**
   * Aborted with `lost`: what has been sent goes on, unread. With anything else, but for `answersInTime`,
   * its connection ends.
   */
  readonly signal: AbortSignal;
  /**
   * The other end knows how much time there is, and answers when it is over: what has been sent goes on then,
   * too. Thousands of callers whose connections end with their time are a storm of handshakes.
   */
  readonly answersInTime?: boolean;
  readonly maxReplyBytes: number;
};

export type ExchangeReply = {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The receiver's to zeroize. */
  readonly body: Buffer;
};

/** So long a request goes on that lost, or whose time is over. */
const lostMs = 2000;

/** More than `maxReplyBytes`. */
export class ReplyTooLarge extends Error {
  override readonly name = "ReplyTooLarge";
}

/**
 * @returns the reply, without its bytes where it comes too late
 * @throws KmsError of the signal; ReplyTooLarge; an Error of the connection, which may hold on to the request
 */
export function exchange(
  via: Dispatcher,
  { signal, answersInTime = false, maxReplyBytes, ...asked }: ExchangeRequest,
): Promise<ExchangeReply> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    let [status, headers]: [number, IncomingHttpHeaders] = [0, {}];
    let sentBy: Controller | undefined;
    let timer: NodeJS.Timeout | undefined;

    const end = (): void => {
      signal.removeEventListener("abort", onAbort);
      clearTimeout(timer);
      for (const chunk of chunks) chunk.fill(0);
    };
    const onAbort = (): void => {
      const reason = abortReason(signal);
      const isLate = signal.reason === lost || (answersInTime && reason.reason === "deadline_exceeded");
      const cut = (): void => {
        reject(reason);
        sentBy?.abort(reason);
      };
      if (!isLate || sentBy === undefined) cut();
      else timer = setTimeout(cut, lostMs).unref();
    };
    if (signal.aborted) return reject(abortReason(signal));
    signal.addEventListener("abort", onAbort, { once: true });
    via.dispatch(asked, {
      onRequestStart(controller) {
        // What is thrown here ends the request before a byte of it is written, and not its connection.
        if (signal.aborted) throw abortReason(signal);
        sentBy = controller;
      },
      onResponseStart(_controller, code, given) {
        [status, headers] = [code, given];
      },
      onResponseData(controller, chunk) {
        size += chunk.length;
        if (signal.aborted) chunk.fill(0);
        else chunks.push(chunk);
        if (size > maxReplyBytes) controller.abort(new ReplyTooLarge());
      },
      onResponseEnd() {
        const body = Buffer.concat(chunks);
        end();
        if (signal.aborted) body.fill(0);
        resolve({ status, headers, body });
      },
      onResponseError(_controller, error) {
        end();
        reject(error);
      },
    });
    return undefined;
  });
}
