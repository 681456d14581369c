// The console of a fleet service under test: two files, sessions, and an issuer that a test plays.
import type { IncomingHttpHeaders } from "node:http";
import { request } from "node:https";
import { text } from "node:stream/consumers";
import type { AuditLog } from "@claviger/gateway-core/src/audit/log.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { createStanding } from "../../../../gateway/fleet/src/approvals/standing.ts";
import type { FleetConfig } from "../../../../gateway/fleet/src/config.ts";
import type { CodeFlow } from "../../../../gateway/fleet/src/oidc/code-flow.ts";
import type { TokenOperators } from "../../../../gateway/fleet/src/oidc/operators.ts";
import type { Assets } from "../../../../gateway/fleet/src/pages/assets.ts";
import { createLogin } from "../../../../gateway/fleet/src/pages/login.ts";
import { createReports } from "../../../../gateway/fleet/src/pages/reports.ts";
import { createSessions, type Sessions, type SharedEnds } from "../../../../gateway/fleet/src/pages/sessions.ts";
import type { Rates } from "../../../../gateway/fleet/src/rates.ts";
import { createSite, type Site } from "../../../../gateway/fleet/src/pages/site.ts";

const testAssets: Assets = new Map([
  [
    "/index.html",
    { type: "text/html; charset=utf-8", bytes: Buffer.from("<!doctype html>"), etag: '"a"', isImmutable: false },
  ],
  [
    "/assets/main-ABCD1234.js",
    {
      type: "text/javascript; charset=utf-8",
      bytes: Buffer.from("script();"),
      gzip: Buffer.from("squeezed"),
      etag: '"b"',
      isImmutable: true,
    },
  ],
]);

type Roles = Readonly<Record<string, FleetConfig["operators"][keyof FleetConfig["operators"]]>>;

/** @param operators those that there were @param standing those that have a role now */
export function createTestSite({
  oidc,
  operators,
  standing,
  flow,
  tokenOperator,
  shared,
  secret,
  audit,
  rates,
  log,
  now,
}: {
  readonly oidc: FleetConfig["oidc"];
  readonly operators: Roles;
  readonly standing: Roles;
  readonly flow: CodeFlow | undefined;
  readonly tokenOperator: TokenOperators;
  readonly shared: SharedEnds;
  readonly secret: Uint8Array;
  readonly audit: AuditLog;
  readonly rates: Rates;
  readonly log: Log;
  readonly now: (() => number) | undefined;
}): { readonly site: Site; readonly sessions: Sessions } {
  const unexpected = () => Promise.reject(new TypeError("no login here"));
  const sessions = createSessions({
    secret,
    standingOf: (who, until) => {
      const name = who.operator.split(":").at(-1) ?? "";
      return name in operators && !(name in standing)
        ? undefined
        : createStanding(() => ({ operators: standing, oidc }))(who, until);
    },
    lifetimeMs: 3_600_000,
    shared,
    ...(now && { now }),
  });
  const login = createLogin({
    secret,
    url: "https://console.test",
    flow: flow ?? { begin: unexpected, finish: unexpected },
    sessions,
    tokenOperator,
  });
  const site = createSite({
    assets: testAssets,
    url: undefined,
    sessions,
    login,
    report: createReports(log),
    audit,
    rates,
    log,
  });
  return { site, sessions };
}

export type PageAnswer = { readonly status: number; readonly headers: IncomingHttpHeaders; readonly text: string };

/** Asks as a browser does. */
export function askPage({
  body,
  ...options
}: {
  readonly port: number;
  readonly ca: string;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}): Promise<PageAnswer> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: "127.0.0.1", agent: false, ...options }, (reply) => {
      const { statusCode: status = 0, headers } = reply;
      void text(reply).then((said) => resolve({ status, headers, text: said }), reject);
    });
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}
