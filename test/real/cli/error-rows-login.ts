// Rows of what goes wrong with logins, and with the tokens that they leave.
import { chmodSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openTokenStore } from "@claviger/cli/src/oidc/store.ts";
import type { Row } from "./error-rows.ts";
import type { World } from "./error-world.ts";

/** `claviger login`, `logout` and `whoami`. */
export async function loginRows(world: World): Promise<readonly Row[]> {
  const closed = world.closed.replace("http:", "https:");
  const contextWith = (name: string, fleet: object): readonly string[] => {
    const file = join(world.dir, `login-${name}`);
    writeFileSync(file, JSON.stringify({ current: "prod", contexts: { prod: { fleet } } }));
    return ["--config", file];
  };
  const home = join(world.dir, "home");
  const tokens = join(home, ".config", "claviger", "tokens");
  const at = (name: string, issuer: string): readonly string[] =>
    contextWith(name, { url: closed, ca: world.ca, oidc: { issuer, clientId: name } });
  /** As after a login that gave this. */
  const loggedIn = async (name: string, expiresAt: number, refreshToken?: string): Promise<readonly string[]> => {
    const store = openTokenStore({ issuer: closed, clientId: name, scopes: [] }, { home });
    await store.write({ token: "hvs.canary", expiresAt, ...(refreshToken !== undefined && { refreshToken }) });
    return at(name, closed);
  };
  const own = `${world.bao.addr}/v1/identity/oidc/provider/default`;
  const hour = Date.now() + 3_600_000;
  const open = await loggedIn("open", hour);
  for (const name of readdirSync(tokens)) chmodSync(join(tokens, name), 0o644);
  const notOne = join(world.dir, "not-a-token");
  writeFileSync(notOne, "two words");
  const { cert, key } = world.etcd;
  const service = ["--fleet", closed, "--ca", world.ca];
  const etcdPort = new URL(world.etcd.url).port;
  return [
    {
      what: "login: a context with a certificate",
      args: ["login", ...contextWith("certificate", { url: closed, ca: world.ca, cert, key })],
      says: /^claviger: context prod of \S+ has no issuer to log in at: its fleet service needs oidc with issuer and clientId$/,
    },
    {
      what: "login: nothing listens",
      args: ["login", ...at("closed", closed)],
      says: /^claviger: the issuer https:\S+ cannot be reached \(ECONNREFUSED: nothing listens there/,
    },
    {
      what: "login: a CA that did not sign the issuer's certificate",
      args: ["login", ...at("unknown-ca", world.tlsAddr)],
      says: /^claviger: the issuer https:\S+ cannot be reached \(\w+: /,
    },
    {
      what: "login: what answers is no issuer",
      args: ["login", ...at("strange", world.strange)],
      says: /^claviger: the issuer http:\S+ gives an answer that cannot be used \(/,
    },
    {
      what: "login: a port that is taken",
      args: ["login", ...at("port", own), "--port", etcdPort],
      says: /^claviger: port \d+ of this machine cannot be listened at \(EADDRINUSE\); give another --port$/,
    },
    {
      what: "login: no device code grant",
      args: ["login", ...at("device", own), "--device"],
      says: /^claviger: the issuer http:\S+ has no device code grant; log in without --device: --no-browser/,
    },
    {
      what: "login: no port",
      args: ["login", ...at("no-port", own), "--port", "x"],
      status: 2,
      says: /Must be a number from 0 to 65535/,
      isLong: true,
    },
    {
      what: "whoami: not logged in",
      args: ["whoami", ...at("nobody", closed)],
      says: /^claviger: you are not logged in at https:\S+: run 'claviger login'$/,
    },
    {
      what: "whoami: a session that has ended",
      args: ["whoami", ...(await loggedIn("ended", Date.now() - 1000))],
      says: /^claviger: the session at https:\S+ ended at \S+Z: run 'claviger login'$/,
    },
    {
      what: "whoami: a session that cannot be renewed",
      args: ["whoami", ...(await loggedIn("stuck", Date.now() - 1000, "hvs.canary"))],
      says: /^claviger: the issuer https:\S+ cannot be reached \(ECONNREFUSED/,
    },
    {
      what: "whoami: a token that others can read",
      args: ["whoami", ...open],
      says: /^claviger: \S+ can be read by others: a token is in it; 'claviger logout' and 'claviger login' make another$/,
    },
    {
      what: "logout: the issuer is away",
      args: ["logout", ...(await loggedIn("away", hour, "hvs.canary"))],
      says: /^claviger: you are logged out on this machine alone: the issuer https:\S+ cannot be reached/,
    },
    {
      what: "whoami: a file that holds no token",
      args: ["whoami", ...service, "--token-file", notOne],
      says: /^claviger: \S+ holds no bearer token, and nothing but one it may hold$/,
    },
    {
      what: "whoami: no such token file",
      args: ["whoami", ...service, "--token-file", "/nowhere/token"],
      says: /^claviger: \/nowhere\/token cannot be read \(ENOENT/,
    },
    {
      what: "whoami: a certificate and a token",
      args: ["whoami", ...service, "--cert", cert, "--key", key, "--token-file", notOne],
      says: /^claviger: give --cert and --key, or --token-file: one call has one caller$/,
    },
    {
      what: "whoami: a context that does not say who",
      args: ["whoami", ...contextWith("nobody-at-all", { url: closed, ca: world.ca })],
      says: /^claviger: context prod of \S+ does not say who you are: add cert and key, or oidc, to its fleet service/,
    },
    {
      what: "whoami: a context with both",
      args: [
        "whoami",
        ...contextWith("both", { url: closed, ca: world.ca, cert, key, oidc: { issuer: closed, clientId: "x" } }),
      ],
      says: /fleet: cert and key, or oidc: one call has one caller$/,
    },
    {
      what: "whoami: an issuer without TLS",
      args: ["whoami", ...at("plain", "http://issuer.example")],
      says: /fleet\.oidc\.issuer: must be an https:\/\/ URL$/,
    },
  ];
}
