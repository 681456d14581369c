// The console as the configuration has it. (docs/architecture.md #console.)
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import type { AuditLog } from "@claviger/gateway-core/src/audit/log.ts";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import { fileProblem } from "@claviger/proto/runtime/file-problem.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { createStanding } from "../approvals/standing.ts";
import type { Operator } from "../caller.ts";
import type { FleetConfig } from "../config.ts";
import { createCodeFlow } from "../oidc/code-flow.ts";
import type { Rates } from "../rates.ts";
import type { Roles } from "../roles.ts";
import { readAssets } from "./assets.ts";
import { callbackPath, createLogin, type Login } from "./login.ts";
import { createReports } from "./reports.ts";
import { createSessions, type Sessions, type SharedEnds } from "./sessions.ts";
import { createSite, type Site } from "./site.ts";

const leastSecret = 32;

/** @throws ConfigError */
function readSecret(file: string | undefined): Uint8Array {
  if (file === undefined) return randomBytes(leastSecret);
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw new ConfigError("configuration", [
      `console.login.sessionKeyFile: ${file} cannot be read (${fileProblem(error)})`,
    ]);
  }
  if (bytes.length >= leastSecret) return bytes;
  throw new ConfigError("configuration", [
    `console.login.sessionKeyFile: ${file} has ${bytes.length} bytes; it must have at least ${leastSecret}, from a random source`,
  ]);
}

/**
 * @param beside where the pages are where the configuration does not say it
 * @param tokenOperator the operator that a token names
 * @returns undefined where the console is not served
 * @throws ConfigError
 */
export function openSite({
  config,
  roles,
  beside,
  tokenOperator,
  shared,
  audit,
  rates,
  log,
}: {
  readonly config: Pick<FleetConfig, "console" | "oidc">;
  /** As they are now. */
  readonly roles: () => Roles;
  readonly beside: string;
  readonly tokenOperator: (token: string) => Promise<Operator>;
  readonly shared: SharedEnds;
  readonly audit: AuditLog;
  readonly rates: Rates;
  readonly log: Log;
}): { readonly site: Site; readonly sessions?: Sessions } | undefined {
  const { enabled, directory, url, login: settings } = config.console;
  if (!enabled) return undefined;
  const assets = readAssets(directory ?? beside);
  if (assets === undefined) {
    log.warn(
      { event: "console-missing", directory: directory ?? beside },
      "the console is not served: its pages are not there",
    );
    return undefined;
  }
  const own = { assets, url, report: createReports(log), audit, rates, log };
  const issuer = settings && Object.entries(config.oidc).find(([name]) => name === settings.issuer)?.[1];
  if (settings === undefined || issuer === undefined || url === undefined) return { site: createSite(own) };
  const secret = readSecret(settings.sessionKeyFile);
  const sessions = createSessions({
    secret,
    standingOf: createStanding(roles),
    lifetimeMs: settings.lifetime,
    shared,
  });
  const login: Login = createLogin({
    secret,
    url,
    flow: createCodeFlow({
      config: issuer,
      redirectUri: `${url}${callbackPath}`,
      scopes: settings.scopes,
      clientSecretFile: settings.clientSecretFile,
    }),
    sessions,
    tokenOperator,
  });
  return { site: createSite({ ...own, login, sessions }), sessions };
}
