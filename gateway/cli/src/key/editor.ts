// Keys of clusters as commands see and change them: through the fleet service, or at the backend itself with
// the operator's own token.
import type { ClusterKeys } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import { promoteLatest, replaceLost, unretire } from "@claviger/gateway-core/src/key/changes.ts";
import { keyOf } from "@claviger/gateway-core/src/registry/edit/text.ts";
import { keysMessage } from "@claviger/gateway-core/src/registry/key-message.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import type { OpenBackend } from "@claviger/gateway-core/src/backend/port.ts";
import { CliError, type Terminal } from "../commander.ts";
import { type FleetClient, withFleetService } from "../fleet-client.ts";
import { type Fleet, openFleet } from "../fleet.ts";
import { isThroughService, reasonOf, type SiteOptions } from "../site.ts";

/** Of one cluster. Errors: CliError, in words. */
export interface KeyEditor {
  /** Where a direct command reads it; undefined through the fleet service. */
  readonly fleet: Fleet | undefined;
  keys(): Promise<ClusterKeys>;
  /** @param above after a restored backup: makes versions until the newest is above, and promotes it; 0: one */
  rotate(above: number): Promise<{ readonly keys: ClusterKeys; readonly version: number }>;
  promote(): Promise<{ readonly keys: ClusterKeys; readonly changed: boolean }>;
  unretire(from: number): Promise<{ readonly keys: ClusterKeys; readonly changed: boolean }>;
}

const callMs = 10_000;

function keysIn({ keys }: { readonly keys?: ClusterKeys | undefined }): ClusterKeys {
  if (keys === undefined) throw new CliError("the fleet service gives no key in its answer; is it another release?");
  return keys;
}

function serviceKeys(client: FleetClient, name: string, reason: () => string): KeyEditor {
  return {
    fleet: undefined,
    keys: async () => keysIn(await client.getClusterKeys({ name })),
    async rotate(aboveVersion) {
      const reply = await client.rotateKey({ name, aboveVersion, reason: reason() });
      return { keys: keysIn(reply), version: reply.version };
    },
    async promote() {
      const reply = await client.promoteKey({ name, reason: reason() });
      return { keys: keysIn(reply), changed: reply.changed };
    },
    async unretire(fromVersion) {
      const reply = await client.unretireKey({ name, fromVersion, reason: reason() });
      return { keys: keysIn(reply), changed: reply.changed };
    },
  };
}

function directKeys(fleet: Fleet, record: ClusterRecord, backend: OpenBackend): KeyEditor {
  const ref = keyOf(record);
  const keys = async (): Promise<ClusterKeys> =>
    keysMessage(record, ref, await backend.describe(ref, AbortSignal.timeout(callMs)), { now: Date.now() });
  return {
    fleet,
    keys,
    async rotate(above) {
      const version =
        above === 0 ? await backend.rotate(ref, AbortSignal.timeout(callMs)) : await replaceLost(backend, ref, above);
      await fleet.announceKey(ref);
      return { keys: await keys(), version };
    },
    async promote() {
      const { changed } = await promoteLatest(backend, ref);
      await fleet.announceKey(ref);
      return { keys: await keys(), changed };
    },
    async unretire(from) {
      const changed = await unretire(backend, ref, from);
      return { keys: await keys(), changed };
    },
  };
}

/** Opens a cluster's key where the command goes. @throws CliError */
export async function withKeys<T>(
  cluster: string,
  options: SiteOptions,
  terminal: Terminal,
  use: (keys: KeyEditor) => Promise<T>,
): Promise<T> {
  if (isThroughService(options, terminal))
    return await withFleetService(options, terminal, (client) =>
      use(serviceKeys(client, cluster, () => reasonOf(options, terminal))),
    );
  const fleet = openFleet(options, terminal);
  return await fleet.withKey(cluster, (record, backend) => use(directKeys(fleet, record, backend)));
}
