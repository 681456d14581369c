// What goes wrong with files, the registry, the gateways and a socket, each by itself.
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { processLines } from "../../unit/gateway/core/audit/records.ts";
import type { Row } from "./error-rows.ts";
import { registryOf, twoVaults, uid, type World } from "./error-world.ts";

/** A file of the world's, written now. */
function file(world: World, name: string, text: string | Buffer): string {
  const path = join(world.dir, name);
  writeFileSync(path, text);
  return path;
}

/** `claviger pki`. */
export function pkiRows(world: World): readonly Row[] {
  const { dir, ca } = world;
  const garbage = join(dir, "garbage");
  mkdirSync(garbage);
  for (const name of ["ca.crt", "ca.key"]) writeFileSync(join(garbage, name), "nothing");
  const half = join(dir, "half");
  mkdirSync(half);
  writeFileSync(join(half, "ca.crt"), "nothing");
  mkdirSync(join(half, "ca.key"));
  const loop = join(dir, "loop");
  symlinkSync(loop, loop);
  const init = (at: string): readonly string[] => ["pki", "init", "--dir", at, "--trust-domain", "fleet.example"];
  const node = (at: string, cluster = "prod"): readonly string[] => [
    "pki",
    "node",
    "--dir",
    at,
    "--cluster",
    cluster,
    "--node",
    "x",
  ];
  return [
    { what: "init over an authority", args: init(dir), says: /^claviger: .*\/ca\.crt exists; move it away first/ },
    {
      what: "init in a file",
      args: init(ca),
      says: /\/ca\.crt cannot be used \(EEXIST: there is something else at that path\)$/,
    },
    {
      what: "init below a file",
      args: init(join(ca, "x")),
      says: /cannot be used \(ENOTDIR: a part of its path is a file and no directory\)$/,
    },
    {
      what: "init in a loop of links",
      args: init(join(loop, "x")),
      says: /cannot be used \(ELOOP: its symbolic links form a loop\)$/,
    },
    {
      what: "init under a name that is too long",
      args: init(join(dir, "x".repeat(300))),
      says: /cannot be used \(ENAMETOOLONG: the name is too long\)$/,
    },
    {
      what: "init with a wrong trust domain",
      args: ["pki", "init", "--dir", join(dir, "new"), "--trust-domain", "Fleet Example"],
      says: /^claviger: .*trust domain must be/,
    },
    {
      what: "init for no day",
      args: [...init(join(dir, "new")), "--days", "0"],
      status: 2,
      says: /Must be a number from 0\.001 to 36500\./,
      isLong: true,
    },
    {
      what: "a node without an authority",
      args: node(join(dir, "none")),
      says: /^claviger: there is no authority in .*\/none; make one with: claviger pki init --dir .*\/none --trust-domain TRUST-DOMAIN$/,
    },
    {
      what: "an authority that is garbage",
      args: node(garbage),
      says: /ca\.crt or .*ca\.key is no certificate or key \(PEM\); restore them from a backup$/,
    },
    {
      what: "a directory as a key",
      args: node(half),
      says: /half cannot be used \(EISDIR: it is a directory; name a file\)$/,
    },
    { what: "a node with a name that is a path", args: node(dir, "../a"), says: /^claviger: a cluster name must be/ },
    {
      what: "a gateway without a name",
      args: ["pki", "gateway", "--dir", dir],
      says: /^claviger: a gateway certificate needs a DNS name or an IP address$/,
    },
    {
      what: "a gateway with a wrong name",
      args: ["pki", "gateway", "--dir", dir, "--dns", "a b"],
      says: /^claviger: a DNS name must be labels/,
    },
  ];
}

/** `claviger audit`. */
export function auditRows(world: World): readonly Row[] {
  const record = { sequence: 1, time: "2026-01-31T12:00:00.000Z" };
  const text = file(world, "audit.jsonl", `${JSON.stringify(record)}\n`);
  const cut = file(world, "cut.gz", gzipSync(Buffer.alloc(100_000, "x\n")).subarray(0, 60));
  const wrong = file(world, "wrong.gz", Buffer.concat([gzipSync("x").subarray(0, 12), Buffer.alloc(40, 7)]));
  const endless = file(world, "endless.jsonl", Buffer.alloc(17 * 2 ** 20, "x"));
  return [
    ...["verify", "search", "tail"].map(
      (verb): Row => ({
        what: `${verb}: no such file`,
        args: ["audit", verb, "/nowhere/a"],
        says: /^claviger: \/nowhere\/a cannot be read \(ENOENT: there is no such file or directory\)$/,
      }),
    ),
    {
      what: "search: a directory",
      args: ["audit", "search", world.dir],
      says: /cannot be read \(EISDIR: it is a directory; name a file\)$/,
    },
    { what: "search: a file twice", args: ["audit", "search", text, text], says: /audit\.jsonl is named twice$/ },
    {
      what: "search: nothing found",
      args: ["audit", "search", text, "--cluster", "prod"],
      says: /claviger: no such record\n/,
      isLong: true,
    },
    {
      what: "search: cut off",
      args: ["audit", "search", cut],
      says: /cut\.gz is compressed and ends in the middle/,
      isLong: true,
    },
    {
      what: "search: damaged",
      args: ["audit", "search", wrong],
      says: /wrong\.gz is compressed, and its data is wrong from here on/,
      isLong: true,
    },
    {
      what: "search: no end of a line",
      args: ["audit", "search", endless],
      says: /endless\.jsonl has a line that does not end/,
      isLong: true,
    },
    {
      what: "search: a time that is none",
      args: ["audit", "search", text, "--since", "soon"],
      status: 2,
      says: /Must be a time such as 2026-01-31/,
      isLong: true,
    },
    {
      what: "search: an outcome that is none",
      args: ["audit", "search", text, "--outcome", "fine"],
      status: 2,
      says: /Allowed choices are ok/,
      isLong: true,
    },
    {
      what: "tail: a wrong number",
      args: ["audit", "tail", text, "--lines", "x"],
      status: 2,
      says: /Must be a number from 0 to 1000000\./,
      isLong: true,
    },
    {
      what: "verify: Vault is away",
      args: [
        "audit",
        "verify",
        file(
          world,
          "chain.jsonl",
          processLines(3, 0)
            .lines.map((line) => `${line}\n`)
            .join(""),
        ),
        "--config",
        world.site("audit-away", {
          main: { addresses: [world.closed] },
          integrity: { backend: "main", mount: "transit", key: "integrity", version: 1 },
        }),
      ],
      says: /cannot be reached: ECONNREFUSED: nothing listens there/,
      isLong: true,
    },
    {
      what: "verify: no such configuration",
      args: ["audit", "verify", text, "--config", "/nowhere/g"],
      says: /^claviger: \/nowhere\/g: cannot be read \(ENOENT\)$/,
    },
  ];
}

/** `claviger node`. */
export function nodeRows(world: World): readonly Row[] {
  const fleet = ["--config", world.site("nodes")];
  const row = (what: string, args: readonly string[], says: RegExp): Row => ({
    what: `node ${what}`,
    args: ["node", ...args, ...fleet],
    says,
  });
  return [
    row("revoke: a cluster alone", ["revoke", "prod"], /^claviger: give CLUSTER\/NODE, or CLUSTER with --serial: /),
    row("revoke: too much of a path", ["revoke", "prod/a/b"], /^claviger: "prod\/a\/b" must be CLUSTER\/NODE$/),
    row("revoke: a name that is none", ["revoke", "prod/A B"], /^claviger: "A B" must be a lower-case DNS name/),
    row("revoke: a node and a serial", ["revoke", "prod/a", "--serial", "1F"], /, not both$/),
    row(
      "revoke: a serial that is none",
      ["revoke", "prod", "--serial", "xyz"],
      /^claviger: --serial xyz is no serial number in hexadecimal digits; openssl x509 -noout -serial/,
    ),
    row(
      "revoke: a serial that is too long",
      ["revoke", "prod", "--serial", "AB".repeat(40)],
      /nodes\.revokedSerials\.0: must be a certificate's serial number in hexadecimal digits, at most 32 bytes$/,
    ),
    row("expect: nobody", ["expect", "prod"], /^claviger: give the names of all nodes of the cluster, or --any for/),
    row("expect: anybody and one", ["expect", "prod", "a", "--any"], /^claviger: give the names of all nodes/),
  ];
}

/** Edits of the registry. */
export function registryRows(world: World): readonly Row[] {
  const { closed, strange } = world;
  const at = (name: string, registry?: string | object): readonly string[] => [
    "--config",
    world.site(name, registry === undefined ? {} : { registry }),
  ];
  const add = (...args: readonly string[]): readonly string[] => [
    "cluster",
    "add",
    "new",
    "--backend",
    "main",
    "--mount",
    "transit",
    ...args,
    ...at("adds"),
  ];
  const leaf = join(world.dir, "client.crt");
  const suspend = ["cluster", "suspend", "prod"];
  const flow = `{ "clusters": [{ "name": "prod", "uid": "${uid}", "state": "active", "keys": [{ "backend": "main", "mount": "transit", "key": "prod" }] }] }`;
  const kv = { kind: "vault", backend: "main", mount: "none", path: "registry" };
  const full = at("read-only");
  chmodSync(join(world.dir, "read-only"), 0o500);
  return [
    {
      what: "registry upgrade: a registry in a file",
      args: ["registry", "upgrade", ...at("file-upgrade")],
      says: /file-upgrade\/clusters\.yaml is a file; only a registry in Vault has another form since 0\.1\.0$/,
    },
    {
      what: "add: a name that is none",
      args: ["cluster", "add", "A B", "--backend", "main", "--mount", "transit", ...at("adds")],
      says: /^claviger: NAME must be/,
    },
    {
      what: "add: a mount that is none",
      args: ["cluster", "add", "x", "--backend", "main", "--mount", "../etc", ...at("adds")],
      says: /^claviger: --mount must be/,
    },
    {
      what: "add: a backend that is not there",
      args: ["cluster", "add", "x", "--backend", "other", "--mount", "transit", ...at("adds")],
      says: /x: backend other is not in the gateway's configuration$/,
    },
    {
      what: "add: a cluster that is there",
      args: ["cluster", "add", "prod", "--backend", "main", "--mount", "transit", ...at("adds")],
      says: /^claviger: cluster prod is in the registry already$/,
    },
    {
      what: "add: several backends",
      args: ["cluster", "add", "x", "--config", twoVaults(world)],
      says: /^claviger: give --backend: it can be main, second$/,
    },
    {
      what: "add: no mount is in use",
      args: ["cluster", "add", "x", ...at("adds-empty", "clusters: []\n")],
      says: /^claviger: give --mount: .* is not in the configuration|transit/,
    },
    {
      what: "import: no such file",
      args: ["cluster", "import", "/nowhere/r.yaml", ...at("adds")],
      says: /^claviger: \/nowhere\/r\.yaml cannot be read \(ENOENT: there is no such/,
    },
    {
      what: "import: another record of that name",
      args: [
        "cluster",
        "import",
        file(world, "moved.yaml", registryOf("x", "prod").replace("name: x", "name: prod2")),
        ...at("adds"),
      ],
      says: /cannot be imported into .*\/clusters\.yaml: 2 problems/,
      isLong: true,
    },
    {
      what: "add: a rotation that is none",
      args: add("--rotation", "never"),
      status: 2,
      says: /Allowed choices are auto, manual/,
      isLong: true,
    },
    {
      what: "add: no such CA",
      args: add("--issuer-ca", "/nowhere/ca"),
      says: /--issuer-ca: \/nowhere\/ca cannot be used \(ENOENT: there is no such file/,
    },
    {
      what: "add: a CA that is no certificate",
      args: add("--issuer-ca", file(world, "text", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")),
      says: /--issuer-ca: .*\/text cannot be used \(it holds no certificate \(PEM\)\)$/,
    },
    {
      what: "add: a leaf as a CA",
      args: add("--issuer-ca", leaf),
      says: /--issuer-ca: .*client\.crt must hold one CA certificate \(PEM\)$/,
    },
    {
      what: "add: in JSON",
      args: ["cluster", "add", "new", "--backend", "main", "--mount", "transit", ...at("flow", flow)],
      says: /written in flow style \(JSON\); add this by hand:\n- name: new/,
      isLong: true,
    },
    {
      what: "suspend: a gateway that is no URL",
      args: [...suspend, "--gateway", "10.0.0.1", ...at("adds")],
      says: /^claviger: --gateway 10\.0\.0\.1 is not the URL of a gateway's second listener/,
    },
    {
      what: "suspend: a gateway that is away",
      args: [...suspend, "--gateway", closed, ...at("suspend-away")],
      says: /not every gateway has it in force:\n {2}- gateway .*: ECONNREFUSED: nothing listens there/,
      isLong: true,
    },
    {
      what: "suspend: something that is no gateway",
      args: [...suspend, "--gateway", strange, ...at("suspend-strange")],
      says: /what answers there is no gateway/,
      isLong: true,
    },
    {
      what: "suspend: a record without a state",
      args: [...suspend, ...at("no-state", registryOf("prod").replace(" state: active,", ""))],
      says: /^claviger: .*state/,
    },
    {
      what: "list: a registry without a mount in Vault is empty",
      args: ["cluster", "list", ...at("kv", kv)],
      status: 0,
      says: /^there is no cluster yet: claviger cluster add\n$/,
    },
    {
      what: "add: a mount that is not in Vault",
      args: ["cluster", "add", "new", "--backend", "main", "--mount", "transit", ...at("kv", kv)],
      says: /^claviger: Vault at .* has nothing mounted there \(.*none\/data\/registry.*\); correct the mount in the registry, or make it: claviger vault init$/,
    },
    {
      what: "list: a token that may not read the registry",
      args: ["cluster", "list", ...at("kv", kv)],
      env: { VAULT_TOKEN: world.tokens.weak },
      says: /refuses your token \(VAULT_TOKEN\).*none\/data\/registry/,
    },
    {
      what: "list: the registry of a backend without documents",
      args: [
        "cluster",
        "list",
        "--config",
        world.site("embedded-kv", {
          registry: kv,
          main: { kind: "embedded", file: join(world.dir, "no-keys.json"), addresses: undefined, auth: undefined },
        }),
      ],
      says: /^claviger: (?:backend main keeps no documents; the registry needs one of kind vault|.*registry)/,
    },
    ...(process.getuid?.() === 0
      ? []
      : [
          {
            what: "suspend: a directory that cannot be written",
            args: [...suspend, ...full],
            says: /the registry .* cannot be written \(EACCES: this user may not/,
          },
        ]),
  ];
}
