// Encrypts, or Decrypts, on their way up: those that wait travel together, identical Decrypts are one
// request. (docs/architecture.md #shim; docs/kms-contract.md fact 13.)
import { createHash } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { EpochClaim } from "@claviger/proto/wire/epoch.ts";
import { type BatchOutcome, createBatcher } from "@claviger/proto/runtime/batcher.ts";
import { KmsError, parseReason, rowOf, toKmsError } from "@claviger/proto/wire/errors.ts";
import { BatchRequestSchema, BatchResponseSchema, type BatchResult } from "@claviger/proto/gen/claviger/relay_pb.ts";
import { zeroize } from "@claviger/proto/runtime/secret.ts";
import { limits } from "@claviger/proto/wire/protocol.ts";
import type { StatusKeeper } from "./status.ts";
import type { Metrics } from "./metrics.ts";
import type { Upstream } from "./upstream.ts";
import type { UpstreamCall, UpstreamReply } from "./gateway.ts";

/** A single call's method, and that of a batch of them. */
const kinds = {
  encrypt: { batch: "encryptBatch", hedge: false },
  decrypt: { batch: "decryptBatch", hedge: true },
} as const;

export type RelayReply = Pick<UpstreamReply, "body" | "epoch">;

export interface Relay {
  /**
   * Sends a serialized v2 request.
   * @param request the caller's own to zeroize when this has ended
   * @param deadline milliseconds of the process' steady clock; one caller's end does not end the others'
   * @param signal the caller went away; what nobody waits for any more is not sent, or ended
   * @param identity what makes two requests the same: everything but the uid. Absent: each is its own
   * @returns a serialized v2 response, a copy of the caller's own to zeroize, and the epoch that it is of
   */
  call(request: Buffer, deadline: number, signal: AbortSignal, identity?: readonly Uint8Array[]): Promise<RelayReply>;
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

type Outcome = BatchOutcome<RelayReply>;
type Call = { readonly signal: AbortSignal; readonly deadline: number };

function outcomeOf({ outcome }: BatchResult, epoch: EpochClaim | undefined): Outcome {
  if (outcome.case === "response") return { ok: true, value: { body: Buffer.from(outcome.value), epoch } };
  const reason = parseReason(outcome.value);
  const error =
    reason !== undefined
      ? new KmsError(reason)
      : new KmsError("gateway_unavailable", { cause: new Error("a batch result without an outcome") });
  return { ok: false, error };
}

/** @param epochs the highest that was seen: a gateway that is behind it reads its registry again */
export function createRelay(
  method: keyof typeof kinds,
  {
    upstream,
    metrics,
    epochs,
  }: {
    readonly upstream: Upstream;
    readonly metrics: Metrics;
    readonly epochs: Pick<StatusKeeper, "epoch" | "accept">;
  },
): Relay {
  const { batch, hedge } = kinds[method];
  const ofCluster = (): Pick<UpstreamCall, "epoch" | "accept"> => ({ epoch: epochs.epoch(), accept: epochs.accept });
  const sendOne = async (body: Buffer, call: Call): Promise<Outcome> => {
    try {
      const reply = await upstream.call({ method, body, ...ofCluster(), hedge, ...call });
      return { ok: true, value: reply };
    } catch (thrown) {
      const error = toKmsError(thrown);
      // What the gateway decided is this item's own; all else is the call's.
      if (rowOf(error.reason).kind === "outage" || error.reason === "canceled") throw error;
      return { ok: false, error };
    }
  };

  const sendMany = async (requests: readonly Buffer[], call: Call): Promise<readonly Outcome[]> => {
    const body = toBinary(BatchRequestSchema, create(BatchRequestSchema, { requests: [...requests] }));
    const reply = await upstream
      .call({ method: batch, body, ...ofCluster(), hedge, ...call })
      .catch((thrown: unknown) => {
        // A gateway of an earlier release knows no batches.
        if (toKmsError(thrown).reason === "method_unknown") return undefined;
        throw thrown;
      })
      .finally(() => {
        if (method === "encrypt") zeroize(body);
      });
    if (reply === undefined)
      return await Promise.all(
        requests.map((request) =>
          sendOne(request, call).catch((thrown: unknown) => ({ ok: false, error: toKmsError(thrown) }) as const),
        ),
      );
    try {
      const { results } = fromBinary(BatchResponseSchema, reply.body);
      if (results.length !== requests.length)
        throw new KmsError("gateway_unavailable", { cause: new Error("a batch reply of another length") });
      return results.map((result) => outcomeOf(result, reply.epoch));
    } finally {
      zeroize(reply.body);
    }
  };

  const batcher = createBatcher<undefined, Buffer, RelayReply>({
    ...bounds,
    keyId: () => "",
    discard: ({ body }) => zeroize(body),
    copy: ({ body, epoch }) => ({ body: Buffer.from(body), epoch }),
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
    async call(request, deadline, signal, identity) {
      const common = { group: "", bytes: request.length + itemOverhead, deadline, signal };
      if (identity === undefined) return await batcher.run(undefined, { item: request, ...common });
      const hash = createHash("sha256");
      for (const part of identity) hash.update(`${part.length}:`).update(part);
      // A copy: the first caller's own buffer is zeroized when that caller is answered, which may be
      // before the others are.
      return await batcher.run(undefined, { item: Buffer.from(request), identity: hash.digest("base64"), ...common });
    },
  };
}
