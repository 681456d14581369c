// FleetService as commands call it: with the operator's certificate, at the place that a context or options
// name. The only file that imports connect. (docs/architecture.md #control-plane.)
import { Code, ConnectError, createClient, type Client } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { FleetService } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import { isHttpsOrigin } from "@claviger/proto/runtime/config.ts";
import { codeOf } from "@claviger/proto/runtime/file-problem.ts";
import { CliError, type Command, type Terminal } from "./commander.ts";
import { contextOf, type FleetAddress, readContexts } from "./contexts.ts";
import { connectionProblem, readTextFile } from "./outside.ts";
import { defaultContexts } from "./target.ts";

export type FleetClient = Client<typeof FleetService>;

export type ClientOptions = {
  readonly config?: string;
  readonly context?: string;
  readonly fleet?: string;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
};

const callMs = 20_000;

/** Adds the options that say where the fleet service is, and who asks. */
export function clientOptions(command: Command): Command {
  return command
    .option("--context <name>", "a context with a fleet service (default: $CLAVIGER_CONTEXT, or the current one)")
    .option("--config <file>", "a file of contexts (default: $CLAVIGER_CONFIG, or ~/.config/claviger/config.yaml)")
    .option("--fleet <url>", "the fleet service, https://HOST:PORT, instead of a context's")
    .option("--ca <file>", "with --fleet: the CA that it is verified by, PEM")
    .option("--cert <file>", "with --fleet: the operator's certificate, PEM")
    .option("--key <file>", "with --fleet: its key, PEM");
}

function addressOf({ fleet: url, ca, cert, key, context, config }: ClientOptions, terminal: Terminal): FleetAddress {
  if (url !== undefined) {
    if (ca === undefined || cert === undefined || key === undefined)
      throw new CliError("--fleet needs --ca, --cert and --key: who it is, and who you are");
    return { url, ca, cert, key };
  }
  const file = config ?? terminal.env["CLAVIGER_CONFIG"] ?? defaultContexts(terminal);
  const [name, { fleet }] = contextOf(file, readContexts(file), context ?? terminal.env["CLAVIGER_CONTEXT"]);
  if (fleet === undefined)
    throw new CliError(
      `context ${name} of ${file} names no fleet service: add 'fleet' with url, ca, cert and key to it, or give --fleet`,
    );
  return fleet;
}

/** What went wrong with a call, in words. */
function explained(error: unknown, url: string): unknown {
  if (!(error instanceof ConnectError)) return error;
  const code = codeOf(error.cause);
  if (code !== undefined)
    return new CliError(`the fleet service ${url} cannot be reached (${connectionProblem(code)})`);
  if (error.code === Code.DeadlineExceeded) return new CliError(`the fleet service ${url} does not answer in time`);
  return new CliError(`the fleet service refuses: ${error.rawMessage}`);
}

/** Calls the service once or more. @throws CliError */
export async function withFleetService<T>(
  options: ClientOptions,
  terminal: Terminal,
  use: (client: FleetClient) => Promise<T>,
): Promise<T> {
  const { url, ca, cert, key } = addressOf(options, terminal);
  if (!isHttpsOrigin(url)) throw new CliError(`${url} must be https://HOST:PORT`);
  const transport = createConnectTransport({
    baseUrl: url,
    httpVersion: "1.1",
    defaultTimeoutMs: callMs,
    nodeOptions: {
      ca: readTextFile(ca),
      cert: readTextFile(cert),
      key: readTextFile(key),
      minVersion: "TLSv1.3",
      agent: false,
    },
  });
  try {
    return await use(createClient(FleetService, transport));
  } catch (error) {
    throw explained(error, url);
  }
}
