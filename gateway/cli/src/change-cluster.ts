// What every command does that changes a record: the edit, what it led to in words, and the wait for the
// gateways. (docs/architecture.md #registry.)
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { type EditOptions, gatewaysOf } from "./cluster-options.ts";
import type { Terminal } from "./commander.ts";
import { openFleet } from "./fleet.ts";
import { waitForGateways } from "./gateway-word.ts";
import { type Change, changedFields } from "@claviger/gateway-core/src/registry/edit/change.ts";

export type Changed = {
  readonly earlier: ClusterRecord;
  /** The fields that have another value now; undefined where nothing was changed. */
  readonly changed: ReturnType<typeof changedFields>;
  /** What messages call the registry. */
  readonly where: string;
};

/** @param say what became of it, without "nothing was changed" */
export async function changeCluster(
  cluster: string,
  change: Change,
  options: EditOptions,
  terminal: Terminal,
  say: (changed: Changed) => string,
): Promise<void> {
  const fleet = openFleet(options, terminal);
  const { registry } = fleet;
  const gateways = gatewaysOf(options, fleet);
  const { earlier, version } = await registry.change(cluster, change);
  const changed = changedFields(earlier, change);
  const said = say({ earlier, changed, where: registry.name });
  terminal.out(changed === undefined ? `${said}; nothing was changed` : said);
  terminal.out(await waitForGateways(gateways, version));
}
