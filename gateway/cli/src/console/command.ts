// `claviger console`: the console in this user's browser, with this user's identity. (docs/control-plane.md #console.)
import { request } from "node:https";
import { CliError, type Command, numberBetween, type Terminal } from "../commander.ts";
import { clientOptions, type ClientOptions, type FleetAccess, fleetAccess, withFleetService } from "../fleet-client.ts";
import { openBrowser } from "../oidc/browser.ts";
import { createForward } from "./forward.ts";
import { openProxy } from "./proxy.ts";

type Options = ClientOptions & { readonly port: number; readonly open: boolean };

const askMs = 10_000;

/** Does the service serve the pages? That it answers is known. */
function hasPages({ url, tls }: FleetAccess): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const asked = request(new URL("/", url), {
      ...tls(),
      method: "HEAD",
      agent: false,
      signal: AbortSignal.timeout(askMs),
    });
    asked.on("response", (reply) => {
      reply.resume();
      resolve(reply.statusCode === 200);
    });
    asked.on("error", reject);
    asked.end();
  });
}

async function run(options: Options, terminal: Terminal): Promise<void> {
  const access = fleetAccess(options, terminal);
  const { identity, role } = await withFleetService(options, terminal, (client) => client.whoAmI({}));
  if (!(await hasPages(access)))
    throw new CliError(
      `the fleet service ${access.url} serves no console: its log says why (console-missing), or 'console.enabled' in fleet.yaml is false`,
    );
  let last = "";
  const notice = (text: string): void => {
    if (text !== last) terminal.err(text);
    last = text;
  };
  const { link } = await openProxy({
    port: options.port,
    fleet: access.url,
    forward: createForward(access, notice),
    onNotice: notice,
  });
  terminal.out(link);
  terminal.err(
    `The console of ${access.url}, as ${identity} (${role}). The link is good once, in a browser of yours; Ctrl-C ends the console.`,
  );
  if (options.open && !(await openBrowser(link, terminal.env)))
    terminal.err("No browser could be started: open the link.");
  // Until it is interrupted.
  await new Promise(() => {});
}

/** Adds the command. */
export function addConsoleCommand(root: Command, terminal: Terminal): void {
  clientOptions(root.command("console"))
    .description("open the console in your browser, with your identity, until it is interrupted")
    .option(
      "--port <port>",
      "of 127.0.0.1, where the browser finds it (default: any that is free)",
      numberBetween(0, 65_535),
      0,
    )
    .option("--open", "start a browser as well; other users of this machine may see the link while it starts", false)
    .action((options: Options) => run(options, terminal));
}
