// Opens the clusters for a command, where it goes, and waits for the gateways after a change.
import { type EditOptions, gatewaysOf } from "../cluster-options.ts";
import type { Terminal } from "../commander.ts";
import { withFleetService } from "../fleet-client.ts";
import { openFleet } from "../fleet.ts";
import { type GatewayAddresses, waitForGateways } from "../gateway-word.ts";
import { gatewaysIn, isThroughService, reasonOf, type SiteOptions } from "../site.ts";
import { directClusters } from "./direct.ts";
import type { ClusterEditor } from "./editor.ts";
import { serviceClusters } from "./service.ts";

export type ClusterOptions = SiteOptions & EditOptions;
export type ChangeOptions = ClusterOptions & { readonly dryRun: boolean };

/** Where a command has the clusters. */
export type ClusterSite = {
  readonly clusters: ClusterEditor;
  readonly isService: boolean;
  readonly gateways: GatewayAddresses;
};

/** @throws CliError, EditError or ConfigError */
export async function withClusters<T>(
  options: ClusterOptions,
  terminal: Terminal,
  use: (site: ClusterSite) => Promise<T>,
): Promise<T> {
  if (!isThroughService(options, terminal)) {
    const fleet = openFleet(options, terminal);
    const gateways = gatewaysOf(options, fleet);
    return await use({ clusters: directClusters(fleet), isService: false, gateways });
  }
  const gateways = gatewaysOf(options, { gateways: gatewaysIn(options, terminal) });
  return await withFleetService(options, terminal, (client, url) =>
    use({
      clusters: serviceClusters(client, url, () => reasonOf(options, terminal)),
      isService: true,
      gateways,
    }),
  );
}

/** Waits until the gateways that can be asked have an edit in force. @throws CliError */
export async function waitFor(
  { gateways, isService }: ClusterSite,
  version: string,
  { out }: Pick<Terminal, "out">,
): Promise<void> {
  // Whoever goes through the service need not reach the gateways' second listeners.
  if (version === "" || (isService && gateways.urls.length === 0)) return;
  out(await waitForGateways(gateways, version));
}

export const nothingChanged = "nothing was changed";
