// One call on its way through the gateway, and what is learnt about it.
import type { Epoch } from "@claviger/proto/wire/epoch.ts";
import type { ClusterName, NodeName } from "@claviger/proto/wire/names.ts";
import type { Identity } from "@claviger/gateway-core/src/identity.ts";

/**
 * What is known of a call so far: for the reply's headers and the audit record, refusals included.
 */
export type Trail = {
  cluster?: ClusterName;
  node?: NodeName;
  epoch?: Epoch;
  keyId?: string;
  backend?: string;
  backendRequestId?: string;
};

/** A call, as the routes hand it to the service. */
export type Call = {
  readonly identity: Identity;
  /** The highest epoch that the shim has seen of its cluster. */
  readonly seen: Epoch | undefined;
  /** Aborts when the caller's time is over or it has gone away. */
  readonly signal: AbortSignal;
  /** Written to by whoever learns something. */
  readonly trail: Trail;
};
