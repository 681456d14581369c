// `claviger login`, `logout` and `whoami`: who an operator is to the fleet service.
// (docs/architecture.md #control-plane.)
import { WhoAmIResponseSchema } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import { CliError, type Command, numberBetween, type Terminal } from "./commander.ts";
import type { FleetOidc } from "./contexts.ts";
import { clientOptions, type ClientOptions, fleetContextOf, withFleetService } from "./fleet-client.ts";
import type { Issuer, Tokens } from "./oidc/issuer.ts";
import { openBrowser } from "./oidc/browser.ts";
import { openLoopback } from "./oidc/loopback.ts";
import { openTokenStore } from "./oidc/store.ts";
import { fieldsText, messageJson, outputOption, type OutputOptions, printOne, timeText } from "./output.ts";

type ContextOptions = Pick<ClientOptions, "config" | "context">;
type LoginOptions = ContextOptions & { readonly device: boolean; readonly browser: boolean; readonly port: number };

const loginMs = 300_000;

function contextOptions(command: Command): Command {
  return command
    .option(
      "--context <name>",
      "a context whose fleet service takes tokens (default: $CLAVIGER_CONTEXT, or the current one)",
    )
    .option("--config <file>", "a file of contexts (default: $CLAVIGER_CONFIG, or ~/.config/claviger/config.yaml)");
}

function oidcOf(options: ContextOptions, terminal: Terminal): FleetOidc {
  const { name, file, fleet } = fleetContextOf(options, terminal);
  if (fleet.oidc === undefined)
    throw new CliError(
      `context ${name} of ${file} has no issuer to log in at: its fleet service needs oidc with issuer and clientId`,
    );
  return fleet.oidc;
}

async function byBrowser(issuer: Issuer, { browser, port }: LoginOptions, terminal: Terminal): Promise<Tokens> {
  const loopback = await openLoopback(port);
  try {
    const { url, finish } = await issuer.byCode(loopback.redirectUri);
    const state = new URL(url).searchParams.get("state") ?? "";
    const tokens = loopback.take(state, finish, loginMs);
    // It is awaited below; what comes before must not leave it without a handler.
    tokens.catch(() => {});
    const isOpen = browser && (await openBrowser(url, terminal.env));
    terminal.err(isOpen ? `A browser opens. Where none does, open this page:\n${url}` : `Open this page:\n${url}`);
    return await tokens;
  } finally {
    loopback.close();
  }
}

async function byDevice(issuer: Issuer, terminal: Terminal): Promise<Tokens> {
  const { code, url, completeUrl, wait } = await issuer.byDevice();
  terminal.err(
    `Open ${url} on any machine and enter the code ${code}${completeUrl === undefined ? "" : `, or open ${completeUrl} and compare it`}. This command waits.`,
  );
  return await wait();
}

async function login(options: LoginOptions, terminal: Terminal): Promise<void> {
  const oidc = oidcOf(options, terminal);
  const { openIssuer } = await import("./oidc/issuer.ts");
  const issuer = await openIssuer(oidc);
  const tokens = await (options.device ? byDevice(issuer, terminal) : byBrowser(issuer, options, terminal));
  await openTokenStore(oidc, terminal).write(tokens);
  const until = new Date(tokens.expiresAt).toISOString();
  terminal.err(
    `You are logged in at ${oidc.issuer} ${
      tokens.refreshToken === undefined ? `until ${until}` : "for as long as it renews the session"
    }; 'claviger whoami' says as whom.`,
  );
}

async function logout(options: ContextOptions, terminal: Terminal): Promise<void> {
  const oidc = oidcOf(options, terminal);
  const store = openTokenStore(oidc, terminal);
  const stored = await store.read().catch(() => undefined);
  await store.remove();
  if (stored === undefined) return terminal.err(`You were not logged in at ${oidc.issuer}.`);
  const until = new Date(stored.expiresAt).toISOString();
  const copies = `Copies of the token are good until ${until}`;
  if (stored.refreshToken === undefined) return terminal.err(`You are logged out at ${oidc.issuer}. ${copies}.`);
  const { openIssuer } = await import("./oidc/issuer.ts");
  const isRevoked = await openIssuer(oidc)
    .then((issuer) => issuer.revoke(stored.refreshToken ?? ""))
    .catch((error: unknown) => {
      if (!(error instanceof CliError)) throw error;
      throw new CliError(`you are logged out on this machine alone: ${error.message}`);
    });
  terminal.err(
    isRevoked
      ? `You are logged out at ${oidc.issuer}, and the session there is ended. ${copies}.`
      : `You are logged out on this machine; ${oidc.issuer} cannot be told to end the session: do it there. ${copies}.`,
  );
}

/** Adds the commands. */
export function addLoginCommands(root: Command, terminal: Terminal): void {
  contextOptions(root.command("login"))
    .description("log in at the issuer of a context, and keep the token for its fleet service")
    .option("--device", "by a code that is entered on another machine", false)
    .option("--no-browser", "print the page instead of opening it")
    .option(
      "--port <port>",
      "of 127.0.0.1, which the issuer sends the browser back to (default: any that is free)",
      numberBetween(0, 65_535),
      0,
    )
    .action((options: LoginOptions) => login(options, terminal));

  contextOptions(root.command("logout"))
    .description("forget the token, and end the session at the issuer where it can be told to")
    .action((options: ContextOptions) => logout(options, terminal));

  outputOption(clientOptions(root.command("whoami")))
    .description("who you are to the fleet service, and what you may do")
    .action(async (options: ClientOptions & OutputOptions) => {
      const who = await withFleetService(options, terminal, (client) => client.whoAmI({}));
      printOne(terminal, options, {
        value: messageJson(WhoAmIResponseSchema)(who),
        text: () =>
          fieldsText([
            ["identity", who.identity],
            ["role", who.role || "none"],
            ["clusters", who.clusters || "all"],
            ["until", timeText(who.expiresAt)],
          ]),
      });
    });
}
