// `claviger pki crl`: what the registry refuses by serial number, for others than gateways. (docs/control-plane.md.)
import { printable } from "@claviger/proto/runtime/table.ts";
import type { Command, Terminal } from "./commander.ts";
import { clientOptions, type ClientOptions, withFleetService } from "./fleet-client.ts";
import { timeText } from "./output.ts";

/** Adds the command to the group `pki`. */
export function addCrlCommand(group: Command, terminal: Terminal): void {
  clientOptions(group.command("crl"))
    .description("print the list of revoked certificates (CRL), signed by the fleet service's authority in a directory")
    .action(async (options: ClientOptions) => {
      const { crl, nextUpdate, withoutSerial } = await withFleetService(options, terminal, (client) =>
        client.getRevocationList({}),
      );
      terminal.err(`It counts until ${timeText(nextUpdate)}; get another one before.`);
      if (withoutSerial.length > 0)
        terminal.err(
          printable(
            `It lacks nodes that are revoked by name, and whose certificates are not known: ${withoutSerial.join(", ")}; revoke their serial numbers as well`,
          ),
        );
      terminal.out(crl.trimEnd());
    });
}
