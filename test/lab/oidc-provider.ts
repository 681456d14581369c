// An issuer that is not OpenBao, `oidc-provider` of npm, in this process: with the device code grant, refresh tokens
// that are good once, and access tokens for an audience. And a person who fills in its pages.
import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer, request } from "node:https";
import type { IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { Provider } from "oidc-provider";

export type LabProvider = {
  readonly issuer: string;
  readonly clientId: string;
  /** What access tokens may be asked for. */
  readonly resource: string;
  /** How often a refresh token was used. */
  readonly refreshes: () => number;
  close(): void;
};

const clientId = "claviger-cli";
const resource = "https://fleet.lab.claviger.test";

/**
 * @param pair the server's certificate and key, files
 * @param tokenSeconds how long the next ID token is good
 */
export async function startProvider(
  pair: { readonly cert: string; readonly key: string },
  tokenSeconds: () => number = () => 600,
): Promise<LabProvider> {
  const server = createServer({ cert: readFileSync(pair.cert), key: readFileSync(pair.key) });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const issuer = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  let refreshes = 0;
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: clientId,
        token_endpoint_auth_method: "none",
        application_type: "native",
        redirect_uris: ["http://127.0.0.1/callback"],
        grant_types: ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
        id_token_signed_response_alg: "ES256",
      },
    ],
    jwks: { keys: [{ ...privateKey.export({ format: "jwk" }), use: "sig", alg: "ES256", kid: "lab" }] },
    cookies: { keys: ["of the lab"] },
    scopes: ["openid", "offline_access"],
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    features: {
      deviceFlow: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: () => ({
          scope: "",
          audience: resource,
          accessTokenFormat: "jwt",
          accessTokenTTL: 600,
          jwt: { sign: { alg: "ES256" } },
        }),
      },
    },
    ttl: { IdToken: tokenSeconds, DeviceCode: 60, RefreshToken: 3600, Grant: 3600, Session: 3600, Interaction: 60 },
    rotateRefreshToken: true,
  });
  provider.on("grant.success", (ctx) => {
    if (ctx.oidc.params?.["grant_type"] === "refresh_token") refreshes += 1;
  });
  const answer = provider.callback();
  server.on("request", (asked, reply) => void answer(asked, reply));
  return {
    issuer,
    clientId,
    resource,
    refreshes: () => refreshes,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

type Page = { readonly status: number; readonly headers: IncomingHttpHeaders; readonly html: string };

/** Somebody who logs in as `user` and agrees to everything, from a page on, until none asks for anything more. */
export async function fillIn(page: string, user: string, ca: string): Promise<string> {
  const jar = new Map<string, string>();
  const load = (url: URL, form?: URLSearchParams): Promise<Page> =>
    new Promise((resolve, reject) => {
      const outgoing = request(
        url,
        {
          method: form === undefined ? "GET" : "POST",
          ca: readFileSync(ca),
          headers: {
            cookie: [...jar].map(([name, value]) => `${name}=${value}`).join("; "),
            ...(form !== undefined && { "content-type": "application/x-www-form-urlencoded" }),
          },
        },
        (reply) => {
          for (const line of reply.headers["set-cookie"] ?? []) {
            const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
            jar.set(name, value);
          }
          void text(reply).then(
            (html) => resolve({ status: reply.statusCode ?? 0, headers: reply.headers, html }),
            reject,
          );
        },
      );
      outgoing.on("error", reject);
      outgoing.end(form?.toString());
    });

  let url = new URL(page);
  let form: URLSearchParams | undefined;
  for (let step = 0; step < 20; step += 1) {
    const { status, headers, html } = await load(url, form);
    form = undefined;
    if (headers.location !== undefined) {
      url = new URL(headers.location, url);
      // Back at the command.
      if (url.protocol === "http:") return await (await fetch(url)).text();
      continue;
    }
    const [, attributes = "", body = ""] = /<form([^>]*)>([^]*?)<\/form>/.exec(html) ?? [];
    if (attributes === "") return `${status} ${html}`;
    form = new URLSearchParams();
    for (const [, input = ""] of body.matchAll(/<input([^>]*)>/g)) {
      const of = (name: string): string => new RegExp(`${name}="([^"]*)"`).exec(input)?.[1] ?? "";
      if (of("name") !== "") form.set(of("name"), of("value"));
    }
    if (form.has("login")) form.set("login", user);
    if (form.has("password")) form.set("password", "any");
    url = new URL((/action="([^"]*)"/.exec(attributes)?.[1] ?? "").replaceAll("&amp;", "&"), url);
  }
  throw new Error(`the pages of ${page} have no end`);
}
