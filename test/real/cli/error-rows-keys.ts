// What goes wrong with a key, its etcds, Redis, a set-up of Vault, and a provider's socket.
import { linkSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import type { Row } from "./error-rows.ts";
import { registryOf, type World } from "./error-world.ts";

const prod = ["prod"];

/** `claviger key`, with keys that are not as they should be. */
export async function keyRows(world: World): Promise<readonly Row[]> {
  const { bao } = world;
  await bao.call("POST", "transit/keys/signing", { type: "ed25519" });
  await bao.call("POST", "sys/mounts/limited", { type: "transit" });
  await bao.call("POST", "limited/keys/limited", { type: "aes256-gcm96" });
  await bao.call("POST", "sys/quotas/rate-limit/few", { path: "limited", rate: 0.001, interval: "1h" });
  const limited = registryOf("limited").replace("mount: transit", "mount: limited");
  const at = (name: string, registry: string): readonly string[] => ["--config", world.site(name, { registry })];
  const good = at("keys", registryOf("prod", "signing", "none"));
  const noMount = at("no-mount", registryOf("prod").replace("mount: transit", "mount: nowhere"));
  const status = (cluster: string, where: readonly string[]): readonly string[] => ["key", "status", cluster, ...where];
  const unretire = (from: string): readonly string[] => ["key", "unretire", ...prod, "--from", from, ...good];
  return [
    {
      what: "a key that is not there",
      args: status("none", good),
      says: /^claviger: Vault at .* has no such key.*transit\/keys\/none.*claviger vault init makes the keys/,
    },
    {
      what: "a mount that is not there",
      args: status("prod", noMount),
      says: /has nothing mounted there \(.*nowhere.*\); correct the mount/,
    },
    { what: "a key of another type", args: status("signing", good), says: /has a key that cannot be used: .*ed25519/ },
    {
      what: "no request is left",
      args: status("limited", at("limited", limited)),
      says: /VERSION|limits the rate/,
      status: 0,
    },
    {
      what: "the rate is limited",
      args: status("limited", at("limited", limited)),
      says: /^claviger: Vault at .* limits the rate.*; run this again later, or raise its quota$/,
    },
    {
      what: "rotate: a version that is too far",
      args: ["key", "rotate", ...prod, "--above", "5000", ...good],
      says: /^claviger: the newest version is 1, more than 100 below 5000; raise the cluster's generation/,
    },
    {
      what: "rotate: a number that is none",
      args: ["key", "rotate", ...prod, "--above", "x", ...good],
      status: 2,
      says: /Must be a number from 1 to 1000000\./,
      isLong: true,
    },
    {
      what: "rotate: no gateway promotes",
      args: ["key", "rotate", ...prod, "--wait", "--timeout", "1", ...good],
      says: /version 2 is not promoted after 1 s; is a gateway running\?/,
      isLong: true,
    },
    {
      what: "unretire: a version that is not there",
      args: unretire("7"),
      says: /^claviger: transit\/prod has no version 7; its latest is 2$/,
    },
    {
      what: "unretire: no version",
      args: ["key", "unretire", ...prod, ...good],
      status: 2,
      says: /required option '--from/,
      isLong: true,
    },
  ];
}

/** What `usage` and `retire` say of etcds. */
export async function etcdRows(world: World): Promise<readonly Row[]> {
  const { etcd, closed, ca, strangers, dir, bao } = world;
  await bao.call("POST", "transit/keys/prod/config", { min_encryption_version: 2 });
  const text = join(dir, "text.pem");
  writeFileSync(text, "nothing");
  writeFileSync(join(dir, "half.db"), Buffer.alloc(512));
  writeFileSync(join(dir, "damaged.db"), Buffer.alloc(544));
  const at = ["--config", world.site("etcds", { registry: registryOf("prod", "other") })];
  const usage = (...args: readonly string[]): readonly string[] => ["key", "usage", ...prod, ...args, ...at];
  const retire = (...args: readonly string[]): readonly string[] => ["key", "retire", ...prod, ...args, ...at];
  const to = ["--etcd", etcd.url];
  const own = ["--etcd-ca", ca, "--etcd-cert", etcd.cert, "--etcd-key", etcd.key];
  const where = `^claviger: etcd at ${RegExp.escape(etcd.url)} cannot be read: `;
  return [
    {
      what: "nothing to count",
      args: usage(),
      says: /^claviger: say what is to be counted: --etcd URL .* or --etcd-snapshot FILE$/,
    },
    {
      what: "no URL",
      args: usage("--etcd", "10.0.0.1:2379"),
      says: /^claviger: --etcd 10\.0\.0\.1:2379 is not the URL of an etcd/,
    },
    {
      what: "a prefix that is none",
      args: usage(...to, "--prefix", "registry"),
      says: /^claviger: --prefix registry is not a path/,
    },
    {
      what: "another cluster's etcd",
      args: usage("--etcd", `other=${etcd.url}`),
      says: /^claviger: --etcd other=…: usage counts the etcds of prod alone$/,
    },
    {
      what: "no such CA",
      args: usage(...to, "--etcd-ca", "/nowhere/ca"),
      says: /^claviger: --etcd-ca: \/nowhere\/ca cannot be read \(ENOENT: there is no such/,
    },
    {
      what: "a CA that is text",
      args: usage(...to, "--etcd-ca", text),
      says: /^claviger: --etcd-ca: .*text\.pem holds no certificate \(PEM\)$/,
    },
    {
      what: "half a pair",
      args: usage(...to, "--etcd-ca", ca, "--etcd-cert", etcd.cert),
      says: /^claviger: --etcd-cert and --etcd-key go together: .* has only one of them$/,
    },
    {
      what: "a key of another pair",
      args: usage(...to, "--etcd-ca", ca, "--etcd-cert", etcd.cert, "--etcd-key", strangers.key),
      says: /^claviger: --etcd-key: .*client\.key does not belong to the certificate$/,
    },
    {
      what: "etcd away",
      args: usage("--etcd", closed),
      says: /^claviger: etcd at http:.* cannot be read: .*ECONNREFUSED/,
    },
    {
      what: "no certificate",
      args: usage(...to, "--etcd-ca", ca),
      says: new RegExp(`${where}.*--etcd-ca, --etcd-cert and --etcd-key`),
    },
    {
      what: "another's certificate",
      args: usage(...to, "--etcd-ca", ca, "--etcd-cert", strangers.cert, "--etcd-key", strangers.key),
      says: new RegExp(`${where}it refuses the client certificate`),
    },
    {
      what: "a wrong CA",
      args: usage(...to, ...own.slice(2), "--etcd-ca", strangers.ca),
      says: new RegExp(`${where}its certificate is not of a CA that is trusted .*; give its CA: --etcd-ca$`),
    },
    {
      what: "another name",
      args: usage("--etcd", etcd.url.replace("127.0.0.1", "127.0.0.2"), ...own),
      says: /its certificate is for other names .*; use one of them in the URL$|ECONNREFUSED/,
    },
    {
      what: "no TLS where there is",
      args: usage("--etcd", etcd.url.replace("https:", "http:")),
      says: /does it speak TLS there \(https:\/\/\), or another protocol\?$/,
    },
    {
      what: "TLS where there is none",
      args: usage("--etcd", bao.addr.replace("http:", "https:"), ...own),
      says: /no TLS connection comes about; does it speak http:\/\/ there\?$/,
    },
    {
      what: "a host that is not there",
      args: usage("--etcd", "http://nowhere.invalid:2379"),
      says: /cannot be read: there is no host of the name nowhere\.invalid/,
    },
    {
      what: "no such snapshot",
      args: usage("--etcd-snapshot", "/nowhere/s.db"),
      says: /^claviger: the snapshot \/nowhere\/s\.db cannot be read \(ENOENT: there is no such/,
    },
    {
      what: "a snapshot that is cut off",
      args: usage("--etcd-snapshot", join(dir, "half.db")),
      says: /it does not end in a checksum/,
    },
    {
      what: "a snapshot that is damaged",
      args: usage("--etcd-snapshot", join(dir, "damaged.db")),
      says: /its checksum is not right: it is damaged$/,
    },
    {
      what: "retire: an etcd of a cluster without the key",
      args: retire("--etcd", `nobody=${etcd.url}`),
      says: /^claviger: --etcd nobody=…: cluster nobody does not use the key of prod$/,
    },
    {
      what: "retire: a duration that is none",
      args: retire(...to, "--quiet", "soon"),
      status: 2,
      says: /Must be a duration such as 5m\./,
      isLong: true,
    },
    {
      what: "retire: an etcd without an object",
      args: retire(...to, ...own, "--before", "2", "--nodes-checked"),
      says: /are not retired:\n {2}- .*version 1 encrypts|holds no object that Claviger encrypted for it/,
      isLong: true,
    },
    {
      what: "retire: nodes that are not known",
      args: retire(...to, ...own, "--before", "2"),
      says: /without Redis it is not known which key_id the nodes of cluster prod show, .*say --nodes-checked/,
      isLong: true,
    },
  ];
}

/** What `retire` says of Redis. */
export function redisRows(world: World): readonly Row[] {
  const { etcd, ca, redis, closed, dir } = world;
  const password = join(dir, "wrong-password");
  writeFileSync(password, "wrong");
  const own = ["--etcd", etcd.url, "--etcd-ca", ca, "--etcd-cert", etcd.cert, "--etcd-key", etcd.key, "--before", "2"];
  const node = `127.0.0.1:${redis.port}`;
  const row = (
    what: string,
    settings: object,
    says: RegExp,
    more: readonly string[] = ["--nodes", "1"],
    isLong = false,
  ): Row => ({
    what: `retire: ${what}`,
    args: [
      "key",
      "retire",
      ...prod,
      ...own,
      ...more,
      "--config",
      world.site(`redis-${what.replaceAll(" ", "-")}`, {
        redis: { kind: "standalone", node, ...settings },
        integrity: { backend: "main", mount: "transit", key: "integrity", version: 1 },
      }),
    ],
    says,
    isLong,
  });
  const blind = (why: string): RegExp =>
    new RegExp(
      `^claviger: Redis at .* cannot be asked which key_ids the nodes show \\(${why}.*\\); see for yourself .*--nodes-checked$`,
    );
  return [
    row("Redis away", { node: closed.replace("http://", "") }, blind("nothing listens there")),
    row("a wrong password", { passwordFile: password }, blind("it refuses the user name or the password")),
    row("no password", {}, blind("it wants a password")),
    row(
      "a password file that is not there",
      { passwordFile: "/nowhere/password" },
      blind(".*/nowhere/password cannot be read"),
    ),
    row(
      "a number of nodes that is none",
      { passwordFile: redis.passwordFile },
      /^claviger: --nodes many is not a number of nodes$/,
      ["--nodes", "many"],
    ),
    row(
      "a node that was not seen",
      { passwordFile: redis.passwordFile },
      /0 of 1 nodes of prod have asked for Status/,
      ["--nodes", "1"],
      true,
    ),
  ];
}

/** `claviger vault init`. */
export function initRows(world: World): readonly Row[] {
  const at = (name: string, settings: Parameters<World["site"]>[1] = {}): readonly string[] => [
    "--config",
    world.site(name, settings),
  ];
  const cert = { auth: { kind: "cert", mount: "cert", role: "gw" }, tls: { cert: "/dev/null", key: "/dev/null" } };
  const integrity = { backend: "main", mount: "transit", key: "prod", version: 1 };
  const row = (what: string, args: readonly string[], says: RegExp, status = 1): Row => ({
    what: `vault init: ${what}`,
    args: ["vault", "init", ...args],
    says,
    status,
    isLong: status === 2,
  });
  return [
    row(
      "a prefix of no key",
      ["--key-prefix", "x-", ...at("no-prefix")],
      /^claviger: --key-prefix x-: no key's name begins so$/,
    ),
    row("no backend of that name", ["--backend", "x", ...at("init")], /^claviger: there is no vault backend x$/),
    row(
      "no cluster",
      at("init-empty", { registry: "clusters: []\n" }),
      /^claviger: no cluster of the registry has a key in backend main; add one first: claviger cluster add$/,
    ),
    row(
      "a CA that is not there",
      ["--client-ca", "/nowhere/ca", ...at("init-cert", { main: cert })],
      /^claviger: \/nowhere\/ca cannot be read \(ENOENT: there is no such/,
    ),
    row(
      "a duration that is none",
      ["--token-ttl", "soon", ...at("init")],
      /Must be a duration such as 30s, 20m or 720h\./,
      2,
    ),
    row(
      "a key for two purposes",
      at("init-integrity", { integrity }),
      /^claviger: integrity: transit\/prod is a cluster's key; give it one of its own$/,
    ),
    row(
      "a namespace beside the login's",
      at("init-namespace", {
        main: { namespace: "team" },
        registry: registryOf("prod").replace("mount: transit", "namespace: other, mount: transit"),
      }),
      /^claviger: other\/transit\/prod: namespace other is not below team/,
    ),
    row(
      "a role that lacks names",
      at("init-cert", { main: cert }),
      /^claviger: one thing is in the way \(CONFLICT above\)/,
    ),
    row("two policies", ["--print-policy", "--print-hcl", ...at("init")], /cannot be used with option/, 2),
  ];
}

/** `claviger check`, with what may lie at the path. The servers are the caller's to close. */
export async function checkRows(
  world: World,
): Promise<{ readonly rows: readonly Row[]; readonly servers: readonly Server[] }> {
  const sockets = join(world.dir, "s");
  mkdirSync(sockets);
  const other = createServer((socket) => void socket.on("error", () => {}).end("HTTP/1.1 400\r\n\r\n"));
  await new Promise<void>((resolve) => other.listen(join(sockets, "other.sock"), resolve));
  // A second name of a socket stays when its process ends.
  const gone = createServer();
  const left = join(sockets, "left.sock");
  await new Promise<void>((resolve) => gone.listen(join(sockets, "gone.sock"), resolve));
  linkSync(join(sockets, "gone.sock"), left);
  await new Promise<void>((resolve) => gone.close(() => resolve()));
  const row = (what: string, socket: string, says: RegExp): Row => ({
    what: `check: ${what}`,
    args: ["check", "--timeout", "0.5", "--socket", socket],
    says,
    isLong: true,
  });
  const rows = [
    row(
      "no directory",
      "/nowhere/kms.sock",
      /the directory \/nowhere does not exist\n.*check the path; inside a container/,
    ),
    row("no socket", join(sockets, "none"), /there is no socket at .*\n.*start claviger-shim and read its log/),
    row("a file", world.ca, /is a file, not a socket\n.*move it away and restart claviger-shim/),
    row("a directory", sockets, /is a directory, not a socket/),
    row("below a file", join(world.ca, "x"), /is not a directory\n.*give the path of the shim's socket/),
    row(
      "a path that is too long",
      `/${"x".repeat(200)}`,
      /the path has 201 bytes, a socket's path has at most \d+\n.*choose a shorter/,
    ),
    row("something else", join(sockets, "other.sock"), /what to do: /),
    row("left behind", left, /no process listens on the socket; it was left behind\n.*start claviger-shim/),
    {
      what: "check: an operations listener that is no URL",
      args: ["check", "--socket", left, "--operations", "10.0.0.1:9090"],
      status: 2,
      says: /Must be http:\/\/HOST:PORT\.[^]*--help/,
      isLong: true,
    },
  ];
  return { rows, servers: [other] };
}
