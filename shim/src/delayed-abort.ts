// A request over HTTP/1.1 that is given up takes its connection with it. One that merely lost to a
// faster gateway goes on for a while, unread, so that its connection is kept. (docs/architecture.md
// #endpoints.)
import { lost } from "@claviger/proto/runtime/endpoint-round.ts";

/** Rides along with a request: has any of it been sent? */
export type Sent = { isSent: boolean };

/** So long a request goes on that lost. */
const delayMs = 2000;

/**
 * The signal to send a request with.
 * @param signal aborted with `lost` where another gateway was faster
 * @returns `end` is to be called when the request is over
 */
export function delayAbort(signal: AbortSignal, sent: Sent): { readonly signal: AbortSignal; end(): void } {
  const own = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const onAbort = (): void => {
    if (signal.reason !== lost || !sent.isSent) own.abort(signal.reason);
    else timer = setTimeout(() => own.abort(signal.reason), delayMs).unref();
  };
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  return {
    signal: own.signal,
    end() {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
    },
  };
}
