// What lives exactly as long as one KMS call, on either side: its deadline, its caller's patience,
// the buffers that held key material. Made when a call comes in, disposed in a `finally`. Knows
// neither gRPC nor HTTP. (docs/architecture.md #scope.)
import { KmsError } from "../wire/errors.ts";
import { type Clock, systemClock } from "./clock.ts";
import { zeroize } from "./secret.ts";

/** setTimeout's own bound; longer ones would fire at once. */
const longestTimerMs = 2 ** 31 - 1;

/** The life of one call. `dispose` ends it; everything may be called after that and does no harm. */
export class RequestScope {
  readonly #controller = new AbortController();
  readonly #buffers: Uint8Array[] = [];
  readonly #clock: Clock;
  readonly #began: number;
  #deadline: number;
  #timer: NodeJS.Timeout | undefined;
  #isDisposed = false;

  /** @param timeoutMs from now; the signal then aborts with `deadline_exceeded` */
  constructor(timeoutMs: number, clock: Clock = systemClock) {
    this.#clock = clock;
    this.#began = clock.now();
    this.#deadline = this.#began + timeoutMs;
    this.#schedule();
  }

  /** Aborts with the KmsError why nobody needs the result any more. Never by `dispose`. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Milliseconds since the call came in. */
  get elapsedMs(): number {
    return this.#clock.now() - this.#began;
  }

  /** Milliseconds that are left; 0 or less when there are none. */
  get leftMs(): number {
    return this.#deadline - this.#clock.now();
  }

  /** Moves the deadline to that many milliseconds after the call came in, if that is earlier; one that has passed ends it. */
  limit(timeoutMs: number): void {
    const deadline = this.#began + timeoutMs;
    if (deadline >= this.#deadline || this.#isDisposed) return;
    this.#deadline = deadline;
    if (this.leftMs > 0) this.#schedule();
    else this.cancel(new KmsError("deadline_exceeded"));
  }

  /** The caller has left, or the call is given up: the first reason counts. */
  cancel(reason?: KmsError): void {
    if (this.#isDisposed || this.#controller.signal.aborted) return;
    this.#stopTimer();
    this.#controller.abort(reason ?? new KmsError("canceled"));
  }

  /**
   * Bytes that may hold key material: zeroized by `dispose`, and at once when the scope is disposed
   * already. The caller may use them until then.
   */
  zeroizeLater<B extends Uint8Array>(bytes: B): B {
    if (this.#isDisposed) zeroize(bytes);
    else this.#buffers.push(bytes);
    return bytes;
  }

  /** Zeroizes every buffer and stops the timer. */
  dispose(): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    this.#stopTimer();
    for (const bytes of this.#buffers) zeroize(bytes);
    this.#buffers.length = 0;
  }

  #schedule(): void {
    this.#stopTimer();
    const wait = Math.min(Math.max(0, this.leftMs), longestTimerMs);
    this.#timer = this.#clock.setTimeout(() => this.cancel(new KmsError("deadline_exceeded")), wait);
  }

  #stopTimer(): void {
    if (this.#timer !== undefined) this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
