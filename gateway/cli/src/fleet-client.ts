// FleetService as commands call it: with the operator's certificate or token, at the place that a context or
// options name. The only file that imports connect. (docs/architecture.md #control-plane.)
import { Code, ConnectError, createClient, type Client, type Interceptor } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { ApprovalNeededSchema, FleetService } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import { isHttpsOrigin } from "@claviger/proto/runtime/config.ts";
import { codeOf } from "@claviger/proto/runtime/file-problem.ts";
import { CliError, type Command, type Terminal } from "./commander.ts";
import { contextOf, type FleetAddress, type FleetOidc, readContexts } from "./contexts.ts";
import { tokenOf } from "./oidc/session.ts";
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
  readonly tokenFile?: string;
};

/** How the operator shows who they are. `none` where a context leaves that to an option. */
type Identity =
  | { readonly kind: "certificate"; readonly cert: string; readonly key: string }
  | { readonly kind: "token-file"; readonly file: string }
  | { readonly kind: "oidc"; readonly oidc: FleetOidc };
type Address = { readonly url: string; readonly ca: string; readonly identity: Identity };

const callMs = 20_000;

/** Adds the options that say where the fleet service is, and who asks. */
export function clientOptions(command: Command): Command {
  return identityOptions(
    command
      .option("--context <name>", "a context with a fleet service (default: $CLAVIGER_CONTEXT, or the current one)")
      .option("--config <file>", "a file of contexts (default: $CLAVIGER_CONFIG, or ~/.config/claviger/config.yaml)"),
  );
}

/** Adds those that stand instead of a context. @param keyOption where `--key` is something else */
export function identityOptions(command: Command, keyOption = "--key <file>"): Command {
  return command
    .option("--fleet <url>", "the fleet service, https://HOST:PORT, instead of a context's")
    .option("--ca <file>", "with --fleet: the CA that it is verified by, PEM")
    .option("--cert <file>", "with --fleet: the operator's certificate, PEM")
    .option(keyOption, "with --fleet: its key, PEM")
    .option(
      "--token-file <file>",
      "a bearer token to show, of an issuer that the service knows (default: $CLAVIGER_TOKEN_FILE)",
    );
}

/** The context that is meant, which names a fleet service. @throws CliError */
export function fleetContextOf(
  { config, context }: ClientOptions,
  terminal: Terminal,
): { readonly name: string; readonly file: string; readonly fleet: FleetAddress } {
  const file = config ?? terminal.env["CLAVIGER_CONFIG"] ?? defaultContexts(terminal);
  const [name, { fleet }] = contextOf(file, readContexts(file), context ?? terminal.env["CLAVIGER_CONTEXT"]);
  if (fleet === undefined)
    throw new CliError(
      `context ${name} of ${file} names no fleet service: add 'fleet' with url, ca and cert and key, or oidc, to it, or give --fleet`,
    );
  return { name, file, fleet };
}

function identityIn({ cert, key, oidc }: Pick<FleetAddress, "cert" | "key" | "oidc">): Identity | undefined {
  if (oidc !== undefined) return { kind: "oidc", oidc };
  return cert === undefined || key === undefined ? undefined : { kind: "certificate", cert, key };
}

function addressOf(options: ClientOptions, terminal: Terminal): Address {
  const { fleet: url, ca, cert, key, tokenFile } = options;
  const fromEnv = terminal.env["CLAVIGER_TOKEN_FILE"] ?? "";
  const given: Identity | undefined = tokenFile === undefined ? undefined : { kind: "token-file", file: tokenFile };
  const byEnv: Identity | undefined = fromEnv === "" ? undefined : { kind: "token-file", file: fromEnv };
  if (url !== undefined) {
    if (given !== undefined && (cert ?? key) !== undefined)
      throw new CliError("give --cert and --key, or --token-file: one call has one caller");
    const identity = given ?? identityIn({ cert, key, oidc: undefined }) ?? byEnv;
    if (ca === undefined || identity === undefined)
      throw new CliError("--fleet needs --ca, and --cert and --key or --token-file: who it is, and who you are");
    return { url, ca, identity };
  }
  const { name, file, fleet } = fleetContextOf(options, terminal);
  const identity = given ?? byEnv ?? identityIn(fleet);
  if (identity === undefined)
    throw new CliError(
      `context ${name} of ${file} does not say who you are: add cert and key, or oidc, to its fleet service, or give --token-file`,
    );
  return { url: fleet.url, ca: fleet.ca, identity };
}

/** What shows a token with each call, read or renewed when it is needed; undefined for a certificate. */
function tokensOf(identity: Identity, terminal: Terminal): (() => Promise<string>) | undefined {
  switch (identity.kind) {
    case "certificate":
      return undefined;
    case "oidc":
      return () => tokenOf(identity.oidc, terminal);
    case "token-file":
      return () => {
        const token = readTextFile(identity.file).trim();
        if (/^[\w.~+/-]+=*$/.test(token)) return Promise.resolve(token);
        return Promise.reject(new CliError(`${identity.file} holds no bearer token, and nothing but one it may hold`));
      };
  }
}

/** Where the fleet service is, and what the operator shows to it: for what passes calls on. */
export type FleetAccess = {
  readonly url: string;
  /** As the files say now. @throws CliError */
  readonly tls: () => { readonly ca: string; readonly cert?: string; readonly key?: string };
  /** Undefined where the operator shows a certificate. @throws CliError */
  readonly token: (() => Promise<string>) | undefined;
};

/** @throws CliError */
export function fleetAccess(options: ClientOptions, terminal: Terminal): FleetAccess {
  const { url, ca, identity } = addressOf(options, terminal);
  if (!isHttpsOrigin(url)) throw new CliError(`${url} must be https://HOST:PORT`);
  return {
    url,
    tls: () => ({
      ca: readTextFile(ca),
      ...(identity.kind === "certificate" && { cert: readTextFile(identity.cert), key: readTextFile(identity.key) }),
    }),
    token: tokensOf(identity, terminal),
  };
}

function bearer(token: () => Promise<string>): Interceptor {
  return (next) => async (request) => {
    request.header.set("authorization", `Bearer ${await token()}`);
    return await next(request);
  };
}

/** What went wrong with a call, in words. */
function explained(error: unknown, url: string): unknown {
  if (!(error instanceof ConnectError)) return error;
  if (error.cause instanceof CliError) return error.cause;
  const code = codeOf(error.cause);
  if (code !== undefined)
    return new CliError(`the fleet service ${url} cannot be reached (${connectionProblem(code)})`, "away");
  if (error.code === Code.Unavailable)
    return new CliError(`the fleet service is not available: ${error.rawMessage}`, "away");
  if (error.code === Code.DeadlineExceeded) return new CliError(`the fleet service ${url} does not answer in time`);
  const isWaiting = error.findDetails(ApprovalNeededSchema).length > 0;
  const kind = isWaiting ? "waits" : error.code === Code.Unauthenticated ? "unknown-caller" : "failed";
  return new CliError(`the fleet service refuses: ${error.rawMessage}`, kind);
}

/** Calls the service once or more. @throws CliError */
export async function withFleetService<T>(
  options: ClientOptions,
  terminal: Terminal,
  use: (client: FleetClient, url: string) => Promise<T>,
): Promise<T> {
  const { url, tls, token } = fleetAccess(options, terminal);
  const transport = createConnectTransport({
    baseUrl: url,
    httpVersion: "1.1",
    defaultTimeoutMs: callMs,
    interceptors: token === undefined ? [] : [bearer(token)],
    nodeOptions: {
      ...tls(),
      minVersion: "TLSv1.3",
      agent: false,
    },
  });
  try {
    return await use(createClient(FleetService, transport), url);
  } catch (error) {
    throw explained(error, url);
  }
}
