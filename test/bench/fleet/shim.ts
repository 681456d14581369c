// One simulated shim: the shim's own endpoint pool, Status keeper, Decrypt batches and checks, without
// its socket and its files, so that thousands fit into a process.
import { createKmsMethods, type KmsMethods } from "../../../shim/src/kms.ts";
import { createMetrics } from "../../../shim/src/metrics.ts";
import { createStatusKeeper } from "../../../shim/src/status.ts";
import { createUpstream } from "../../../shim/src/upstream.ts";
import { silentLog } from "@claviger/proto/runtime/log.ts";
import type { Identity } from "./protocol.ts";

export type SimulatedShim = {
  readonly identity: Identity;
  readonly kms: KmsMethods;
  /** No gateway confirms the key now: Status goes on with the last key_id. */
  readonly isInGrace: () => boolean;
  /** Ends its connections. */
  close(): Promise<void>;
};

const grace = () => ({ healthyForMs: 600_000, degradedForMs: 3_600_000 });
const noStateFile = { load: () => undefined, save: () => {}, forget: () => false };
/** One for all: nobody reads them. */
const metrics = createMetrics();

/** Connects to its gateways at once, as the shim does. */
export function createSimulatedShim(
  identity: Identity,
  tls: { readonly cert: string; readonly key: string; readonly ca: string },
): SimulatedShim {
  const upstream = createUpstream(identity.gateways, { ...tls, serverName: undefined }, metrics);
  const status = createStatusKeeper({ upstream, stateFile: noStateFile, grace, log: silentLog });
  return {
    identity,
    kms: createKmsMethods({ upstream, metrics, status, version: "simulated" }),
    isInGrace: () => status.outage().phase > 0,
    close: () => upstream.close(),
  };
}
