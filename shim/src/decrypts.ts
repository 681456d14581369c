// Decrypts on their way up: identical ones are one request, different ones that wait travel together. No timer gathers them. (Design section 11; contract fact 13.)
import { createHash } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { isReason, KmsError, toKmsError } from "@claviger/proto/errors.ts";
import { DecryptBatchRequestSchema, DecryptBatchResponseSchema, type DecryptResult } from "@claviger/proto/gen/claviger/relay_pb.ts";
import { wipe } from "@claviger/proto/secret.ts";
import { limits } from "@claviger/proto/wire.ts";
import type { Metrics } from "./metrics.ts";
import type { Upstream } from "./upstream.ts";

export interface Decrypts {
  /**
   * Decrypts a serialized v2.DecryptRequest.
   * @param identity what makes two requests the same: everything but the uid
   * @param deadline Unix milliseconds; one caller's end does not end the others'
   * @returns a serialized v2.DecryptResponse, a copy of the caller's own to wipe
   */
  decrypt(request: Buffer, identity: readonly Uint8Array[], deadline: number): Promise<Buffer>;
}

type Waiting = {
  readonly request: Buffer;
  readonly deadline: number;
  readonly resolve: (response: Buffer) => void;
  readonly reject: (error: KmsError) => void;
};

/** How many batches may be under way; a second one starts beside the first only when this many wait. */
const maxInFlight = 4;
const startBeside = 16;
/** A request that takes longer than this lets another start beside it. */
const slowMs = 50;
/** A shared request waits this long at most, whatever its callers allow. */
const flightMs = 10_000;

export const createDecrypts = (upstream: Upstream, metrics: Metrics): Decrypts => {
  const flights = new Map<string, { readonly response: Promise<Buffer>; callers: number }>();
  let queue: Waiting[] = [];
  let inFlight = 0;
  let relief: NodeJS.Timeout | undefined;

  const sendOne = async ({ request, deadline, resolve, reject }: Waiting): Promise<void> => {
    try {
      resolve((await upstream.call({ method: "decrypt", body: request, deadline, hedge: true })).body);
    } catch (error) {
      reject(toKmsError(error));
    }
  };

  const settle = ({ resolve, reject }: Waiting, { outcome }: DecryptResult): void => {
    if (outcome.case === "response") return resolve(Buffer.from(outcome.value));
    const reason = outcome.value;
    return reject(
      reason !== undefined && isReason(reason)
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
      wipe(reply.body);
    } catch (thrown) {
      const error = toKmsError(thrown);
      // A gateway of an earlier release knows no batches.
      if (error.reason === "method_unknown") await Promise.all(batch.map(sendOne));
      else for (const { reject } of batch) reject(error);
    }
  };

  const start = (): void => {
    const now = Date.now();
    const batch = queue.splice(0, limits.batchItems).filter(({ deadline, reject }) => {
      if (deadline > now) return true;
      reject(new KmsError("deadline_exceeded"));
      return false;
    });
    const [first] = batch;
    if (first === undefined) return;
    inFlight += 1;
    void (batch.length === 1 ? sendOne(first) : sendMany(batch)).finally(() => {
      inFlight -= 1;
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

  const fly = (key: string, request: Buffer) => {
    const response = new Promise<Buffer>((resolve, reject) => {
      queue.push({ request, deadline: Date.now() + flightMs, resolve, reject });
    });
    const flight = { response, callers: 0 };
    flights.set(key, flight);
    const forget = (): void => {
      flights.delete(key);
    };
    response.then(forget, forget);
    pump();
    return flight;
  };

  const inTime = async (response: Promise<Buffer>, deadline: number): Promise<Buffer> => {
    const timeout = Promise.withResolvers<never>();
    const timer = setTimeout(() => timeout.reject(new KmsError("deadline_exceeded")), Math.max(0, deadline - Date.now()));
    try {
      return await Promise.race([response, timeout.promise]);
    } finally {
      clearTimeout(timer);
    }
  };

  return {
    async decrypt(request, identity, deadline) {
      const hash = createHash("sha256");
      for (const part of identity) hash.update(`${part.length}:`).update(part);
      const key = hash.digest("base64");
      const known = flights.get(key);
      if (known !== undefined) metrics.coalesced();
      const flight = known ?? fly(key, request);
      flight.callers += 1;
      try {
        return Buffer.from(await inTime(flight.response, deadline));
      } finally {
        flight.callers -= 1;
        // The last one to take a copy wipes what was copied. Asked again when the response is there: somebody may have joined since one left early.
        if (flight.callers === 0)
          flight.response.then(
            (response) => {
              if (flight.callers === 0) wipe(response);
            },
            () => {},
          );
      }
    },
  };
};
