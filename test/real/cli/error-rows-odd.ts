// Places that answer oddly, key files that cannot be used, and rows that run as another user.
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createSocketServer, type AddressInfo, type Server } from "node:net";
import { join } from "node:path";
import type { Row } from "./error-rows.ts";
import { registryOf, twoVaults, type World } from "./error-world.ts";

async function listening(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function answering(status: number, headers: Readonly<Record<string, string>>, body: string): Server {
  return createServer((_: IncomingMessage, response: ServerResponse) => {
    response.writeHead(status, headers);
    response.end(body);
  });
}

/** A Vault's address where something else is. The servers are the caller's to close. */
export async function oddVaults(
  world: World,
): Promise<{ readonly rows: readonly Row[]; readonly servers: readonly Server[] }> {
  const proxy = answering(404, { "content-type": "text/html" }, "<h1>Not found</h1>");
  const busy = answering(429, { "retry-after": "7" }, '{"errors":["rate"]}');
  const broken = answering(502, {}, "bad gateway");
  const rude = createSocketServer(
    (socket) => void socket.on("data", () => socket.resetAndDestroy()).on("error", () => {}),
  );
  const closing = createSocketServer((socket) => void socket.on("data", () => socket.destroy()).on("error", () => {}));
  const servers = [proxy, busy, broken, rude, closing];
  const [proxyAt = "", busyAt = "", brokenAt = "", rudeAt = "", closingAt = ""] = await Promise.all(
    servers.map(listening),
  );
  const row = (what: string, address: string, says: RegExp): Row => ({
    what: `key status: ${what}`,
    args: [
      "key",
      "status",
      "prod",
      "--config",
      world.site(`odd-${what.replaceAll(" ", "-")}`, { main: { addresses: [address] } }),
    ],
    says,
  });
  return {
    servers,
    rows: [
      row(
        "a proxy",
        proxyAt,
        /: what answers is not an active Vault \(status 404 without Vault's JSON: a proxy before it\?\); is the address that of a proxy/,
      ),
      row("a rate limit", busyAt, /limits the rate for another 7 s; run this again later/),
      row("a bad gateway", brokenAt, /cannot be reached: status 502$/),
      row("a connection that is reset", rudeAt, /cannot be reached: ECONNRESET: it broke off the connection/),
      row(
        "a connection that is closed",
        closingAt,
        /cannot be reached: UND_ERR_SOCKET: it closed the connection in the middle/,
      ),
      row(
        "a name that there is not",
        "http://nowhere.invalid:8200",
        /cannot be reached: (?:ENOTFOUND: there is no host of that name|EAI_AGAIN: the name server does not answer)/,
      ),
    ],
  };
}

/** A place that takes a connection and says nothing: what a command says after its ten seconds. */
export async function silentVault(world: World): Promise<{ readonly row: Row; readonly server: Server }> {
  const server = createSocketServer(() => {});
  const address = await listening(server);
  return {
    server,
    row: {
      what: "a Vault that says nothing",
      args: ["key", "status", "prod", "--config", world.site("silent", { main: { addresses: [address] } })],
      says: /^claviger: Vault at .* (?:does not answer in time; is it overloaded|cannot be reached: no answer)/,
    },
  };
}

/** Backends that are files, a token file without a token, and set-ups with several Vaults. */
export function fileRows(world: World): readonly Row[] {
  const { dir } = world;
  const embedded = (name: string, file: string): readonly string[] => [
    "--config",
    world.site(name, { main: { kind: "embedded", file, addresses: undefined, auth: undefined } }),
  ];
  const garbage = join(dir, "garbage.json");
  writeFileSync(garbage, "nothing", { mode: 0o600 });
  mkdirSync(join(dir, "home"));
  writeFileSync(join(dir, "home", ".vault-token"), "\n");
  const status = ["key", "status", "prod"];
  const signing = registryOf("signing", "none").replace("key: none", "key: exportable");
  return [
    {
      what: "a key file in no directory",
      args: [...status, ...embedded("e1", "/nowhere/keys.json")],
      says: /^claviger: the key file \/nowhere\/keys\.json \(backend main\) cannot be used: ENOENT: there is no such/,
    },
    {
      what: "a key file that is none",
      args: [...status, ...embedded("e2", garbage)],
      says: /^claviger: .*garbage\.json: is not JSON; restore it from a backup/,
    },
    {
      what: "an empty token file",
      args: [...status, "--config", world.site("empty-token")],
      env: {},
      says: /^claviger: .*\/\.vault-token is empty; log in again/,
    },
    {
      what: "vault init: no Vault",
      args: ["vault", "init", ...embedded("e3", garbage)],
      says: /^claviger: the configuration has no backend of kind vault$/,
    },
    {
      what: "vault init: a period that Vault does not take",
      args: [
        "vault",
        "init",
        "--policy",
        "p",
        "--auto-rotate",
        "10s",
        "--config",
        world.site("period", { registry: registryOf("period") }),
      ],
      says: /^claviger: Vault at .*: Vault does not take transit\/keys\/period \(.*\)$/,
    },
    {
      what: "vault init: several things in the way",
      args: ["vault", "init", "--policy", "default", "--config", world.site("conflicts", { registry: signing })],
      says: /^claviger: 2 things are in the way \(CONFLICT above\)/,
    },
    {
      what: "vault init: which Vault",
      args: ["vault", "init", "--config", twoVaults(world)],
      says: /^claviger: give --backend: one of main, second$/,
    },
    {
      what: "retire: a version that encrypts",
      args: [
        "key",
        "retire",
        "prod",
        "--before",
        "9",
        "--nodes-checked",
        "--etcd",
        world.closed,
        "--config",
        world.site("encrypts"),
      ],
      says: /etcd at .* cannot be read/,
    },
  ];
}

/** Run by a user who may not do what they try. */
export function otherUserRows(world: World): readonly Row[] {
  const { dir } = world;
  const closed = join(dir, "closed");
  mkdirSync(closed, { mode: 0o700 });
  chmodSync(dir, 0o755);
  const registry = world.site("others-registry");
  const socket = join(dir, "s", "other.sock");
  chmodSync(socket, 0o600);
  const row = (what: string, args: readonly string[], says: RegExp, isLong = false): Row => ({
    what: `another user: ${what}`,
    args,
    says,
    isLong,
  });
  return [
    row(
      "a directory that they may not write",
      ["pki", "init", "--dir", join(closed, "new"), "--trust-domain", "fleet.example"],
      /closed.* cannot be used \(EACCES: this user may not; run this as one who may\)$/m,
    ),
    row(
      "a registry that they may not write",
      ["cluster", "suspend", "prod", "--config", registry],
      /the registry .* cannot be written \(EACCES: this user may not/,
    ),
    row(
      "a socket that they may not use",
      ["check", "--socket", socket],
      /no permission to connect \(socket mode 0600, owner 0:0\)/,
      true,
    ),
    row(
      "a directory that they may not see",
      ["check", "--socket", join(closed, "x.sock")],
      /no permission to look into/,
      true,
    ),
  ];
}
