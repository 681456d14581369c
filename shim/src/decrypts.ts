// Decrypts on their way up: identical ones are one request, different ones that wait travel
// together. No timer gathers them. (docs/architecture.md #shim; docs/kms-contract.md fact 13.)
import { createHash } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { KmsError, parseReason, toKmsError } from "@claviger/proto/wire/errors.ts";
import {
  DecryptBatchRequestSchema,
  DecryptBatchResponseSchema,
  type DecryptResult,
} from "@claviger/proto/gen/claviger/relay_pb.ts";
import { zeroize } from "@claviger/proto/runtime/secret.ts";
import { limits } from "@claviger/proto/wire/protocol.ts";
import type { Metrics } from "./metrics.ts";
import type { Upstream } from "./upstream.ts";

export interface Decrypts {
  /**
   * Decrypts a serialized v2.DecryptRequest.
   * @param identity what makes two requests the same: everything but the uid
   * @param deadline Unix milliseconds; one caller's end does not end the others'
   * @param signal the caller went away; what nobody waits for any more is not sent
   * @returns a serialized v2.DecryptResponse, a copy of the caller's own to wipe
   */
  decrypt(request: Buffer, identity: readonly Uint8Array[], deadline: number, signal: AbortSignal): Promise<Buffer>;
}

type Waiting = {
  /**
   * A copy: the first caller's own buffer is wiped when that caller is answered, which may be
   * before the others are.
   */
  readonly request: Buffer;
  /** The latest of its callers'. */
  deadline: number;
  callers: number;
  readonly resolve: (response: Buffer) => void;
  readonly reject: (error: KmsError) => void;
};

type Flight = { readonly waiting: Waiting; readonly response: Promise<Buffer>; isOver: boolean };

/**
 * How many batches may be under way; a second one starts beside the first only when this many wait.
 */
const maxInFlight = 4;
const startBeside = 16;
/** Tag and length of an item in a batch, at most. */
const itemOverhead = 8;
/** A request that takes longer than this lets another start beside it. */
const slowMs = 50;
/**
 * An answer stays for those who are just asking the same: a kube-apiserver that starts reads
 * everything twice at the same time, and what the one read has just been told the other one asks a
 * few milliseconds later.
 */
const lingerMs = 50;
/** With less time than this left, another try is not worth it. */
const worthMs = 50;

export function createDecrypts(upstream: Upstream, metrics: Metrics): Decrypts {
  const flights = new Map<string, Flight>();
  const queue: Waiting[] = [];
  let inFlight = 0;
  let relief: NodeJS.Timeout | undefined;
  let isPumpDue = false;

  const sendOne = async ({ request, deadline, resolve, reject }: Waiting): Promise<void> => {
    try {
      resolve((await upstream.call({ method: "decrypt", body: request, deadline, hedge: true })).body);
    } catch (error) {
      reject(toKmsError(error));
    }
  };

  const settle = ({ resolve, reject }: Waiting, { outcome }: DecryptResult): void => {
    if (outcome.case === "response") return resolve(Buffer.from(outcome.value));
    const reason = parseReason(outcome.value);
    return reject(
      reason !== undefined
        ? new KmsError(reason)
        : new KmsError("gateway_unavailable", { cause: new Error("a batch result without an outcome") }),
    );
  };

  const sendMany = async (batch: readonly Waiting[]): Promise<void> => {
    try {
      const body = toBinary(
        DecryptBatchRequestSchema,
        create(DecryptBatchRequestSchema, { requests: batch.map(({ request }) => request) }),
      );
      const deadline = Math.max(...batch.map((waiting) => waiting.deadline));
      const reply = await upstream.call({ method: "decryptBatch", body, deadline, hedge: true });
      const { results } = fromBinary(DecryptBatchResponseSchema, reply.body);
      if (results.length !== batch.length)
        throw new KmsError("gateway_unavailable", { cause: new Error("a batch reply of another length") });
      for (const [i, waiting] of batch.entries()) {
        const result = results[i];
        if (result !== undefined) settle(waiting, result);
      }
      zeroize(reply.body);
    } catch (thrown) {
      const error = toKmsError(thrown);
      // A gateway of an earlier release knows no batches.
      if (error.reason === "method_unknown") await Promise.all(batch.map(sendOne));
      else for (const { reject } of batch) reject(error);
    }
  };

  // The longest head of the queue that fits one message; who has no time or no caller left is
  // dropped before it is sent.
  const take = (): readonly Waiting[] => {
    const now = Date.now();
    const batch: Waiting[] = [];
    let size = 0;
    let next: Waiting | undefined;
    while (batch.length < limits.batchItems && (next = queue[0]) !== undefined) {
      if (batch.length > 0 && size + next.request.length + itemOverhead > limits.batchMessage) break;
      queue.shift();
      if (next.callers === 0 || next.deadline <= now) next.reject(new KmsError("deadline_exceeded"));
      else {
        batch.push(next);
        size += next.request.length + itemOverhead;
      }
    }
    return batch;
  };

  const start = (): void => {
    const batch = take();
    const [first] = batch;
    if (first === undefined) return;
    inFlight += 1;
    void (batch.length === 1 ? sendOne(first) : sendMany(batch)).finally(() => {
      inFlight -= 1;
      pumpSoon();
    });
  };

  // After what has arrived by now has been read: in a storm many more are in the socket already.
  // The caller has joined by then.
  const pumpSoon = (): void => {
    if (isPumpDue) return;
    isPumpDue = true;
    setImmediate(() => {
      isPumpDue = false;
      pump();
    });
  };

  const pump = (): void => {
    while (queue.length > 0 && (inFlight === 0 || (queue.length >= startBeside && inFlight < maxInFlight))) start();
    if (queue.length === 0 || inFlight >= maxInFlight) return;
    relief ??= setTimeout(() => {
      relief = undefined;
      if (queue.length > 0 && inFlight < maxInFlight) start();
      pump();
    }, slowMs).unref();
  };

  // The last one to take a copy wipes what was copied.
  const zeroizeWhenDone = ({ waiting, response, isOver }: Flight): void => {
    if (isOver && waiting.callers === 0) response.then(zeroize, () => {});
  };

  const fly = (key: string, request: Buffer, deadline: number): Flight => {
    const { promise: response, resolve, reject } = Promise.withResolvers<Buffer>();
    const waiting = { request: Buffer.from(request), deadline, callers: 0, resolve, reject };
    const flight: Flight = { waiting, response, isOver: false };
    queue.push(waiting);
    flights.set(key, flight);
    const end = (): void => {
      if (flights.get(key) === flight) flights.delete(key);
      flight.isOver = true;
      zeroizeWhenDone(flight);
    };
    response.then(() => setTimeout(end, lingerMs).unref(), end);
    pumpSoon();
    return flight;
  };

  // Nobody waits for it and it has not been sent: its memory is free at once, however fast somebody
  // sends and cancels.
  const abandon = (key: string, waiting: Waiting): void => {
    const at = queue.indexOf(waiting);
    if (at === -1) return;
    queue.splice(at, 1);
    flights.delete(key);
    waiting.reject(new KmsError("canceled"));
  };

  const inTime = async (response: Promise<Buffer>, deadline: number, signal: AbortSignal): Promise<Buffer> => {
    const end = Promise.withResolvers<never>();
    const timer = setTimeout(() => end.reject(new KmsError("deadline_exceeded")), Math.max(0, deadline - Date.now()));
    const leave = (): void => end.reject(new KmsError("canceled"));
    if (signal.aborted) leave();
    signal.addEventListener("abort", leave, { once: true });
    try {
      return await Promise.race([response, end.promise]);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", leave);
    }
  };

  const join = async (key: string, request: Buffer, deadline: number, signal: AbortSignal): Promise<Buffer> => {
    const known = flights.get(key);
    if (known !== undefined) metrics.coalesced();
    const flight = known ?? fly(key, request, deadline);
    const { waiting, response } = flight;
    waiting.callers += 1;
    waiting.deadline = Math.max(waiting.deadline, deadline);
    try {
      return Buffer.from(await inTime(response, deadline, signal));
    } finally {
      waiting.callers -= 1;
      if (waiting.callers === 0) abandon(key, waiting);
      zeroizeWhenDone(flight);
    }
  };

  return {
    async decrypt(request, identity, deadline, signal) {
      const hash = createHash("sha256");
      for (const part of identity) hash.update(`${part.length}:`).update(part);
      const key = hash.digest("base64");
      for (;;) {
        try {
          return await join(key, request, deadline, signal);
        } catch (thrown) {
          // Joined a request that had been sent with an earlier caller's deadline, and has time
          // left of its own: goes again.
          const { reason } = toKmsError(thrown);
          if (reason !== "deadline_exceeded" || signal.aborted || deadline - Date.now() < worthMs) throw thrown;
        }
      }
    },
  };
}
