// Decrypts on their way up: identical ones are one request, different ones that wait travel
// together. (docs/architecture.md #shim; docs/kms-contract.md fact 13.)
import { createHash } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type BatchOutcome, createBatcher } from "@claviger/proto/runtime/batcher.ts";
import { KmsError, parseReason, rowOf, toKmsError } from "@claviger/proto/wire/errors.ts";
import {
  DecryptBatchRequestSchema,
  DecryptBatchResponseSchema,
  type DecryptResult,
} from "@claviger/proto/gen/claviger/relay_pb.ts";
import { zeroize } from "@claviger/proto/runtime/secret.ts";
import { limits } from "@claviger/proto/wire/protocol.ts";
import type { StatusKeeper } from "./status.ts";
import type { Metrics } from "./metrics.ts";
import type { Upstream } from "./upstream.ts";
import type { UpstreamCall } from "./gateway.ts";

export interface Decrypts {
  /**
   * Decrypts a serialized v2.DecryptRequest.
   * @param identity what makes two requests the same: everything but the uid
   * @param deadline milliseconds of the process' steady clock; one caller's end does not end the others'
   * @param signal the caller went away; what nobody waits for any more is not sent, or ended
   * @returns a serialized v2.DecryptResponse, a copy of the caller's own to zeroize
   */
  decrypt(request: Buffer, identity: readonly Uint8Array[], deadline: number, signal: AbortSignal): Promise<Buffer>;
}

/** Tag and length of an item in a batch, at most. */
const itemOverhead = 8;

const bounds = {
  maxBatch: limits.batchItems,
  maxBatchBytes: limits.batchMessage,
  minParallelBatch: 16,
  maxReadTurns: 0,
  maxQueued: 8192,
  maxQueuedBytes: 64 * 1024 * 1024,
  // A call lasts as long as its callers' deadlines let it.
  maxCallMs: Number.POSITIVE_INFINITY,
};

type Outcome = BatchOutcome<Buffer>;
type Call = { readonly signal: AbortSignal; readonly deadline: number };

function outcomeOf({ outcome }: DecryptResult): Outcome {
  if (outcome.case === "response") return { ok: true, value: Buffer.from(outcome.value) };
  const reason = parseReason(outcome.value);
  const error =
    reason !== undefined
      ? new KmsError(reason)
      : new KmsError("gateway_unavailable", { cause: new Error("a batch result without an outcome") });
  return { ok: false, error };
}

/** @param epochs the highest that was seen: a gateway that is behind it reads its registry again */
export function createDecrypts(
  upstream: Upstream,
  metrics: Metrics,
  epochs?: Pick<StatusKeeper, "epoch" | "accept">,
): Decrypts {
  const ofCluster = (): Pick<UpstreamCall, "epoch" | "accept"> =>
    epochs === undefined ? {} : { epoch: epochs.epoch(), accept: epochs.accept };
  const sendOne = async (body: Buffer, call: Call): Promise<Outcome> => {
    try {
      return {
        ok: true,
        value: (await upstream.call({ method: "decrypt", body, ...ofCluster(), hedge: true, ...call })).body,
      };
    } catch (thrown) {
      const error = toKmsError(thrown);
      // What the gateway decided is this item's own; all else is the call's.
      if (rowOf(error.reason).kind === "outage" || error.reason === "canceled") throw error;
      return { ok: false, error };
    }
  };

  const sendMany = async (requests: readonly Buffer[], call: Call): Promise<readonly Outcome[]> => {
    const body = toBinary(DecryptBatchRequestSchema, create(DecryptBatchRequestSchema, { requests: [...requests] }));
    const reply = await upstream
      .call({ method: "decryptBatch", body, ...ofCluster(), hedge: true, ...call })
      .catch((thrown: unknown) => {
        // A gateway of an earlier release knows no batches.
        if (toKmsError(thrown).reason === "method_unknown") return undefined;
        throw thrown;
      });
    if (reply === undefined)
      return await Promise.all(
        requests.map((request) =>
          sendOne(request, call).catch((thrown: unknown) => ({ ok: false, error: toKmsError(thrown) }) as const),
        ),
      );
    try {
      const { results } = fromBinary(DecryptBatchResponseSchema, reply.body);
      if (results.length !== requests.length)
        throw new KmsError("gateway_unavailable", { cause: new Error("a batch reply of another length") });
      return results.map(outcomeOf);
    } finally {
      zeroize(reply.body);
    }
  };

  const batcher = createBatcher<undefined, Buffer, Buffer>({
    ...bounds,
    keyId: () => "",
    discard: zeroize,
    copy: (response) => Buffer.from(response),
    onCoalesced: () => metrics.coalesced(),
    isItemFault: ({ reason }) => reason === "request_malformed" || reason === "request_too_large",
    send: async (_key, requests, call) => {
      const [first] = requests;
      return requests.length === 1 && first !== undefined
        ? [await sendOne(first, call)]
        : await sendMany(requests, call);
    },
  });

  return {
    async decrypt(request, identity, deadline, signal) {
      const hash = createHash("sha256");
      for (const part of identity) hash.update(`${part.length}:`).update(part);
      return await batcher.run(undefined, {
        // A copy: the first caller's own buffer is zeroized when that caller is answered, which may be
        // before the others are.
        item: Buffer.from(request),
        group: "",
        bytes: request.length + itemOverhead,
        identity: hash.digest("base64"),
        deadline,
        signal,
      });
    },
  };
}
