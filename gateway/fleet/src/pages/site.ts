// The console as browsers ask for it: its files, the ways of a login, and reports of what a page must not do.
// Everything else that a page does is a call of FleetService. Knows no web framework. (docs/architecture.md #console.)
import type { AuditLog } from "@claviger/gateway-core/src/audit/log.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { type Caller, checkOrigin, checkPage, type Shown } from "../caller.ts";
import { entryOf, refusalOf } from "../http/replies.ts";
import type { Rates } from "../rates.ts";
import { type Code, refuse } from "../refusal.ts";
import type { Assets } from "./assets.ts";
import { bareHeaders, pageHeaders, reportPath } from "./headers.ts";
import { callbackPath, type Login } from "./login.ts";
import type { Sessions } from "./sessions.ts";

export type PageRequest = {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  readonly shown: Shown;
  readonly acceptEncoding: string;
  readonly ifNoneMatch: string;
  readonly body: Buffer;
  readonly peer: string | undefined;
};

export type PageReply = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[]>>;
  readonly body: Buffer | string;
};

export interface Site {
  /** Never rejects. */
  answer(request: PageRequest): Promise<PageReply>;
}

export const loginPath = "/console/login";
export const logoutPath = "/console/logout";
export const accessPath = "/console/access";

const statuses: Readonly<Record<Code, number>> = {
  invalid_argument: 400,
  not_found: 404,
  permission_denied: 403,
  unauthenticated: 401,
  already_exists: 409,
  failed_precondition: 400,
  aborted: 409,
  resource_exhausted: 429,
  unavailable: 503,
  internal: 500,
};

function plain(status: number, text: string, headers: PageReply["headers"] = {}): PageReply {
  return {
    status,
    headers: { ...bareHeaders, "content-type": "text/plain; charset=utf-8", ...headers },
    body: text === "" ? "" : `${text}\n`,
  };
}

function fileOf(assets: Assets, path: string, { acceptEncoding, ifNoneMatch }: PageRequest): PageReply | undefined {
  const asset = assets.get(path === "/" ? "/index.html" : path);
  if (asset === undefined) return undefined;
  const { type, bytes, gzip, isImmutable } = asset;
  const etag = `W/${asset.etag}`;
  const headers = {
    ...pageHeaders,
    etag,
    "cache-control": isImmutable ? "public, max-age=31536000, immutable" : "no-cache",
    vary: "accept-encoding",
  };
  if (ifNoneMatch.split(",").some((one) => one.trim() === etag)) return { status: 304, headers, body: "" };
  const typed = { ...headers, "content-type": type };
  return gzip !== undefined && /\bgzip\b/.test(acceptEncoding)
    ? { status: 200, headers: { ...typed, "content-encoding": "gzip" }, body: gzip }
    : { status: 200, headers: typed, body: bytes };
}

export function createSite({
  assets,
  login,
  sessions,
  url,
  report,
  audit,
  rates,
  log,
}: {
  readonly assets: Assets;
  /** Absent where nobody can log in with a browser. */
  readonly login?: Login | undefined;
  readonly sessions?: Sessions | undefined;
  /** Where browsers reach this service. */
  readonly url: string | undefined;
  readonly report: (body: Buffer) => void;
  readonly audit: Pick<AuditLog, "record">;
  readonly rates: Rates;
  readonly log: Log;
}): Site {
  /** Each asks the issuer. @throws Refusal */
  const takeLogin = ({ peer }: PageRequest): void => rates.take({ kind: "anonymous" }, peer ?? "");

  /** Does what one way of a login is, and leaves a record of what became of it. */
  const recorded = async (
    method: "consoleLogin" | "consoleLogout",
    { peer }: PageRequest,
    isRecorded: boolean,
    act: () => Promise<PageReply & { readonly caller?: Caller | undefined }>,
  ): Promise<PageReply> => {
    const at = Date.now();
    try {
      const { caller, ...reply } = await act();
      if (isRecorded) await audit.record(entryOf({ at, method, peer, caller }));
      return reply;
    } catch (error) {
      const refusal = refusalOf(error, method, log);
      await audit.record(entryOf({ at, method, peer, refusal })).catch(() => undefined);
      const forget = login === undefined ? {} : { "set-cookie": [login.forget] };
      return plain(statuses[refusal.code], `You are not logged in: ${refusal.message}`, forget);
    }
  };
  const withLogin = (): { readonly login: Login; readonly sessions: Sessions } => {
    if (login === undefined || sessions === undefined)
      throw refuse("not_found", "this service takes no logins of browsers; run 'claviger console'");
    return { login, sessions };
  };
  const goOn = (location: string, cookies: readonly string[]): PageReply =>
    plain(303, "Go on.", { location, "set-cookie": [...cookies] });

  const get = async (request: PageRequest, path: string): Promise<PageReply> => {
    switch (path) {
      case loginPath:
        return await recorded("consoleLogin", request, false, async () => {
          const ways = withLogin();
          takeLogin(request);
          const { location, cookies } = await ways.login.begin();
          return goOn(location, cookies);
        });
      case callbackPath:
        return await recorded("consoleLogin", request, true, async () => {
          const ways = withLogin();
          takeLogin(request);
          const { location, cookies, operator } = await ways.login.finish(request.target, request.shown.cookie);
          return { ...goOn(location, cookies), caller: operator };
        });
      case accessPath: {
        const ways = login === undefined ? {} : { login: loginPath, logout: logoutPath };
        const headers = { ...bareHeaders, "content-type": "application/json" };
        return { status: 200, headers, body: JSON.stringify({ by: "browser", ...ways }) };
      }
      default:
        return fileOf(assets, path, request) ?? plain(404, "There is no such page.");
    }
  };
  const post = async (request: PageRequest, path: string): Promise<PageReply> => {
    if (path === reportPath) {
      report(request.body);
      return plain(204, "");
    }
    if (path !== logoutPath) return plain(404, "There is no such page.");
    return await recorded("consoleLogout", request, true, async () => {
      const ways = withLogin();
      checkOrigin(request.shown, url);
      checkPage(request.shown);
      const { cookie, operator } = await ways.sessions.end(request.shown.cookie);
      return { ...plain(204, "", { "set-cookie": [cookie] }), caller: operator };
    });
  };
  return {
    answer(request) {
      const [path = "/"] = request.target.split("?");
      return request.method === "POST" ? post(request, path) : get(request, path);
    },
  };
}
