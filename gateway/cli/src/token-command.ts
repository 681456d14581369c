// `claviger node token`: lets one node enroll. (docs/architecture.md #enrollment.)
import { parseDuration } from "@claviger/proto/runtime/duration.ts";
import { CliError, type Command, type Terminal } from "./commander.ts";
import { clientOptions, type ClientOptions, withFleetService } from "./fleet-client.ts";

type Options = ClientOptions & { readonly ttl: string; readonly reason: string };

/** Adds the command to the group `node`. */
export function addTokenCommand(group: Command, terminal: Terminal): void {
  clientOptions(group.command("token"))
    .argument("<node>", "CLUSTER/NODE")
    .description("print a token with which one node enrolls, once")
    .option("--ttl <duration>", "how long it is good, 1m to 168h", "1h")
    .requiredOption("--reason <text>", "why, for the audit record")
    .action(async (text: string, options: Options) => {
      const [cluster = "", node = "", ...rest] = text.split("/");
      if (cluster === "" || node === "" || rest.length > 0)
        throw new CliError(`${JSON.stringify(text)} must be CLUSTER/NODE`);
      const ttl = parseDuration(options.ttl);
      if (ttl === undefined) throw new CliError(`--ttl ${options.ttl} is no duration, such as 30m or 1h`);
      const request = { cluster, node, ttlSeconds: Math.round(ttl / 1000), reason: options.reason };
      const { token, caPin, expiresAt } = await withFleetService(options, terminal, (client) =>
        client.createNodeToken(request),
      );
      const until = new Date(Number(expiresAt?.seconds ?? 0n) * 1000).toISOString();
      terminal.err(
        `The token is good once, for ${text}, until ${until}. Bring it to the node in a file of mode 0600, and run there:
  claviger-shim enroll --url URL-OF-THE-FLEET-SERVICE --token-file FILE --ca-pin ${caPin}
The token:`,
      );
      terminal.out(token);
    });
}
