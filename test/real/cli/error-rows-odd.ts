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
  mkdirSync(join(dir, "home"), { recursive: true });
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

/** Contexts, and a Vault that the environment names. */
export function contextRows(world: World): readonly Row[] {
  const { dir, bao, tlsAddr, tokens, strangers } = world;
  const file = (name: string, text: string): string => {
    writeFileSync(join(dir, name), text);
    return join(dir, name);
  };
  const good = { addresses: [bao.addr] };
  const contexts = (name: string, context: object): readonly string[] => [
    "--config",
    file(name, JSON.stringify({ current: "prod", contexts: { prod: context } })),
  ];
  const none = ["--config", file("no-current.yaml", "contexts: {}\n")];
  const inFlow = file("flow.yaml", `{\n"current": "a", "contexts": {"a": {"config": "/x"}, "b": {"config": "/y"}}}\n`);
  const registry = file("env.yaml", registryOf("prod"));
  const list = ["cluster", "list"];
  const env = { VAULT_TOKEN: tokens.root, VAULT_ADDR: bao.addr };
  const status = ["key", "status", "prod", "--registry", registry];
  return [
    ...["list", "show", "use"].map(
      (verb): Row => ({
        what: `context ${verb}: no file`,
        args: ["context", verb, ...(verb === "use" ? ["x"] : [])],
        says: /^claviger: .*\/home\/\.config\/claviger\/config\.yaml cannot be read \(ENOENT: there is no such/,
      }),
    ),
    {
      what: "context show: none is the current one",
      args: ["context", "show", ...none],
      says: /^claviger: .*no-current\.yaml has no current context: claviger context use NAME/,
    },
    {
      what: "context use: one that is not there",
      args: ["context", "use", "x", ...contexts("c1", { config: "/x" })],
      says: /^claviger: there is no context "x" in .*c1; it has prod$/,
    },
    {
      what: "context use: a file in JSON",
      args: ["context", "use", "b", "--config", inFlow],
      says: /flow\.yaml is written in a way that this command cannot edit; set 'current: b' by hand$/,
    },
    {
      what: "context list: a token in it",
      args: [
        "context",
        "list",
        ...contexts("c2", { backends: { main: { ...good, token: "hvs.canary" } }, registry: "/x" }),
      ],
      says: /^claviger: .*c2: contexts\.prod\.backends\.main\.token: no such setting$/,
    },
    {
      what: "a context that says too little",
      args: [...list, ...contexts("c3", { backends: { main: good } })],
      says: /^claviger: .*c3: contexts\.prod: needs config \(a gateway's configuration\), or backends and registry, or fleet$/,
    },
    {
      what: "a context that says too much",
      args: [...list, ...contexts("c4", { config: "/x", registry: "/x" })],
      says: /contexts\.prod: config says backends, registry, redis and integrity; give one or the other$/,
    },
    {
      what: "a context with a registry in another backend",
      args: [
        ...list,
        ...contexts("c5", { backends: { main: good }, registry: { kind: "vault", backend: "x", mount: "kv" } }),
      ],
      says: /contexts\.prod: registry: x is not one of its backends$/,
    },
    {
      what: "a context with Redis alone",
      args: [
        ...list,
        ...contexts("c6", {
          backends: { main: good },
          registry: "/x",
          redis: { kind: "standalone", node: "127.0.0.1:1" },
        }),
      ],
      says: /contexts\.prod: integrity is required with redis$/,
    },
    {
      what: "a context with an etcd that is no URL",
      args: [
        ...list,
        ...contexts("c7", { backends: { main: good }, registry: "/x", etcd: { prod: { endpoints: ["10.0.0.1"] } } }),
      ],
      says: /endpoints\.0: must be a URL$/,
    },
    {
      what: "a context with a name that is none",
      args: [...list, "--config", file("c8", JSON.stringify({ contexts: { "a b": { config: "/x" } } }))],
      says: /must be 1 to 64 letters, digits and '_\.-'/,
    },
    {
      what: "a context of a gateway's configuration",
      args: [...list, "--context", "x", "--config", world.site("no-contexts")],
      says: /^claviger: --context x: .*gateway\.yaml is no file of contexts$/,
    },
    {
      what: "a context's wrong CA",
      args: [
        "key",
        "status",
        "prod",
        ...contexts("c9", { backends: { main: { addresses: [tlsAddr], tls: { ca: strangers.ca } } }, registry }),
      ],
      says: /does not hold the CA that signed it: correct contexts\.prod\.backends\.main\.tls\.ca in .*c9$/,
    },
    {
      what: "VAULT_ADDR without a registry",
      args: list,
      env,
      says: /^claviger: say where the registry is: --registry kv:MOUNT\/PATH/,
    },
    {
      what: "VAULT_ADDR that is no address",
      args: status,
      env: { ...env, VAULT_ADDR: "vault:8200" },
      says: /^claviger: the environment: addresses\.0: must be http:\/\/HOST:PORT/,
    },
    {
      what: "VAULT_SKIP_VERIFY",
      args: status,
      env: { ...env, VAULT_SKIP_VERIFY: "true" },
      says: /^claviger: VAULT_SKIP_VERIFY is set, .*set VAULT_CACERT to the file of its CA$/,
    },
    {
      what: "no VAULT_CACERT",
      args: status,
      env: { ...env, VAULT_ADDR: tlsAddr },
      says: /no CA is set: name the file of the CA that signed it, VAULT_CACERT$/,
    },
    {
      what: "a registry that is none",
      args: [...list, "--registry", "kv:"],
      env,
      says: /^claviger: --registry kv: is neither kv:MOUNT\/PATH nor the path of a file$/,
    },
    {
      what: "a registry with a path that is none",
      args: [...list, "--registry", "kv:kv/../x"],
      env,
      says: /^claviger: --registry kv:kv\/\.\.\/x: MOUNT and PATH must each be/,
    },
    {
      what: "a backend's name that is none",
      args: status,
      env: { ...env, CLAVIGER_BACKEND: "A B" },
      says: /^claviger: CLAVIGER_BACKEND must be/,
    },
    {
      what: "a key of another backend",
      args: [
        "key",
        "status",
        "prod",
        "--registry",
        file("second.yaml", registryOf("prod").replace("backend: main", "backend: second")),
      ],
      env,
      says: /^claviger: this needs backend second, and VAULT_ADDR stands for backend main/,
    },
  ];
}
