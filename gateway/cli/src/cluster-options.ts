// What the commands that edit the registry share: which gateways to wait for, and how a key is
// written.
import type { KeyRef } from "@claviger/gateway-core/src/backend/port.ts";
import { CliError } from "./commander.ts";
import type { Fleet } from "./fleet.ts";
import type { FleetOptions } from "./target.ts";
import type { GatewayAddresses } from "./gateway-word.ts";

export type EditOptions = FleetOptions & { readonly gateway?: readonly string[] };

export const gatewayHelp =
  "second listener of a gateway that must have the edit in force (default: those of the configuration); several times";

/** The gateways that an edit waits for. @throws CliError */
export function gatewaysOf(
  { gateway }: Pick<EditOptions, "gateway">,
  fleet: Pick<Fleet, "gateways">,
): GatewayAddresses {
  if (gateway === undefined) return { urls: fleet.gateways, areNamed: false };
  for (const url of gateway)
    if (!/^https?:\/\/./.test(url) || !URL.canParse(url))
      throw new CliError(`--gateway ${url} is not the URL of a gateway's second listener, e.g. http://10.0.0.1:9090`);
  return { urls: gateway.map((url) => new URL(url)), areNamed: true };
}

/** `BACKEND: NAMESPACE/MOUNT/KEY`. */
export function keyText({ backend, namespace, mount, key }: KeyRef): string {
  return `${backend}: ${namespace === undefined ? "" : `${namespace}/`}${mount}/${key}`;
}
