// One KMS call on its way through the gateway: who makes it, how long it may take, and what its
// audit record will say.
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import type { SeenEpoch } from "@claviger/gateway-core/src/key/epoch-mac.ts";
import type { Epoch } from "@claviger/proto/wire/epoch.ts";
import type { NodeName } from "@claviger/proto/wire/names.ts";

/** What is learnt about a call: for its audit record, refusals included. */
export type CallFields = {
  uid?: string;
  keyId?: string;
  /** Stands in the presented envelope where that is another cluster's. */
  foreignUid?: string;
  backend?: string;
  backendRequestId?: string;
  ciphertextSha256?: string;
};

/** An admitted call, as the handler hands it to the service. */
export type Call = {
  readonly cluster: ClusterRecord;
  readonly node: NodeName;
  /** The highest epoch that the shim has seen of its cluster. */
  readonly seen: SeenEpoch | undefined;
  /** Aborts when the caller's time is over or it has gone away. */
  readonly signal: AbortSignal;
  /** When the caller's time is over, milliseconds of the process' steady clock. */
  readonly deadline: number;
  /** Written to by whoever learns something. */
  readonly fields: CallFields;
  /** Told the epoch that the reply carries. */
  readonly onEpoch: (epoch: Epoch) => void;
};
