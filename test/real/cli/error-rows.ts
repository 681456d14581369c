// Rows of what goes wrong: a command line, and the one line that it must end with.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { registryOf, type World } from "./error-world.ts";

export type Row = {
  readonly what: string;
  readonly args: readonly string[];
  /** Instead of the root token. */
  readonly env?: Readonly<Record<string, string>>;
  /** 1 unless it says another. */
  readonly status?: number;
  /** What the line must say: the cause, where, and what to do. */
  readonly says: RegExp;
  /** A list of reasons, or what commander adds, instead of one line. */
  readonly isLong?: boolean;
};

/** What each command needs besides saying which fleet: words that are right. */
export const commands: Readonly<
  Record<
    string,
    {
      readonly args: readonly string[];
      /** It reads the registry; `key` means that it asks the key's backend as well, `vault` all of it. */
      readonly asks?: "registry" | "key" | "vault";
      /** Words of which each is missed. */
      readonly required?: readonly string[];
    }
  >
> = {
  "approvals list": { args: [] },
  "approvals show": { args: ["0000000-0"], required: ["id"] },
  "approvals approve": { args: ["0000000-0"], required: ["id"] },
  "approvals reject": { args: ["0000000-0", "--reason", "x"], required: ["id", "--reason"] },
  check: { args: ["--socket", "/nowhere/kms.sock"], required: ["--socket"] },
  "cluster list": { args: [], asks: "registry" },
  "cluster add": { args: ["new", "--backend", "main", "--mount", "transit"], asks: "registry", required: ["name"] },
  "cluster show": { args: ["prod"], asks: "registry", required: ["cluster"] },
  "cluster edit": { args: ["prod", "--rotation", "manual"], asks: "registry", required: ["cluster"] },
  "cluster label": { args: ["prod", "cell=a"], asks: "registry", required: ["cluster"] },
  "cluster suspend": { args: ["prod"], asks: "registry", required: ["cluster"] },
  "cluster decrypt-only": { args: ["prod"], asks: "registry", required: ["cluster"] },
  "cluster resume": { args: ["prod"], asks: "registry", required: ["cluster"] },
  "cluster export": { args: [], asks: "registry" },
  "cluster import": { args: ["IMPORT"], asks: "registry", required: ["file"] },
  "registry upgrade": { args: [] },
  "registry diff": { args: ["--from", "IMPORT"], asks: "registry", required: ["--from"] },
  "cluster remove": { args: ["prod"], asks: "registry", required: ["cluster"] },
  completion: { args: ["bash"], required: ["shell"] },
  console: { args: [] },
  "context list": { args: [] },
  "context show": { args: [] },
  "context use": { args: ["prod"], required: ["name"] },
  "config schema": { args: ["shim"], required: ["which"] },
  "doctor node": { args: [] },
  "doctor gateway": { args: [] },
  "doctor fleet": { args: [] },
  "doctor operator": { args: [] },
  init: {
    args: ["--distro", "generic", "--form", "systemd", "--cluster", "c", "--node", "n", "--gateway", "https://a:1"],
    required: ["--distro", "--form", "--cluster", "--node", "--gateway"],
  },
  "key status": { args: ["prod"], asks: "key", required: ["cluster"] },
  "key rotate": { args: ["prod"], asks: "key", required: ["cluster"] },
  "key promote": { args: ["prod"], asks: "key", required: ["cluster"] },
  "key usage": { args: ["prod", "--etcd", "http://127.0.0.1:9"], asks: "registry", required: ["cluster"] },
  "key retire": { args: ["prod", "--etcd", "http://127.0.0.1:9"], asks: "key", required: ["cluster"] },
  "key unretire": { args: ["prod", "--from", "1"], asks: "key", required: ["cluster"] },
  login: { args: [] },
  logout: { args: [] },
  whoami: { args: [] },
  "fleet watch": { args: [] },
  "node token": { args: ["prod/cp-1", "--reason", "x"], required: ["node", "--reason"] },
  "node list": { args: [] },
  "node show": { args: ["prod/cp-1"], required: ["node"] },
  "fleet status": { args: [] },
  "fleet gateways": { args: [] },
  "node revoke": { args: ["prod/cp-1"], asks: "registry", required: ["node"] },
  "node allow": { args: ["prod/cp-1"], asks: "registry", required: ["node"] },
  "node expect": { args: ["prod", "cp-1"], asks: "registry" },
  "pki init": { args: ["--dir", "/nowhere", "--trust-domain", "fleet.example"], required: ["--dir", "--trust-domain"] },
  "pki gateway": { args: ["--dir", "/nowhere", "--dns", "kms.example"], required: ["--dir"] },
  "pki node": {
    args: ["--dir", "/nowhere", "--cluster", "prod", "--node", "cp-1"],
    required: ["--dir", "--cluster", "--node"],
  },
  "pki operator": { args: ["--dir", "/nowhere", "--name", "alice"], required: ["--dir", "--name"] },
  "pki crl": { args: [] },
  "vault init": { args: [], asks: "vault" },
  "audit verify": { args: ["/nowhere/audit.jsonl"], required: ["file"] },
  "audit search": { args: ["/nowhere/audit.jsonl"], required: ["file"] },
  "audit tail": { args: ["/nowhere/audit.jsonl"], required: ["file"] },
};

const words = (command: string): readonly string[] => command.split(" ");

function without(args: readonly string[], required: string): readonly string[] {
  if (!required.startsWith("--"))
    return args.filter((arg, i) => arg.startsWith("--") || (args[i - 1] ?? "").startsWith("--"));
  const at = args.indexOf(required);
  return [...args.slice(0, at), ...args.slice(at + 2)];
}

/** Every command with a wrong option, and without each thing that it needs. */
export function wrongWords(): readonly Row[] {
  return Object.entries(commands).flatMap(([command, { args, required = [] }]) => [
    {
      what: `${command}: an unknown option`,
      args: [...words(command), ...args, "--nonsense"],
      status: 2,
      says: /unknown option '--nonsense'[^]*--help/,
      isLong: true,
    },
    ...required.map((one) => ({
      what: `${command}: no ${one}`,
      args: [...words(command), ...without(args, one)],
      status: 2,
      says: one.startsWith("--") ? new RegExp(`required option '${one}[^]*--help`) : /missing required argument '/,
      isLong: true,
    })),
  ]);
}

/** Every command that reads the registry, with a fleet that cannot be found or read. */
export function wrongFleets(world: World): readonly Row[] {
  const broken = world.site("broken-registry", { registry: "clusters:\n  - { name: prod\n" });
  const noList = world.site("no-list", { registry: "clusters: prod\n" });
  const noRegistry = world.site("no-registry", { registry: { kind: "file", file: "/nowhere/clusters.yaml" } });
  const aFolder = world.site("a-folder", { registry: { kind: "file", file: world.dir } });
  const toImport = join(world.dir, "import.yaml");
  writeFileSync(toImport, registryOf("imported"));
  return Object.entries(commands).flatMap(([command, { args: given, asks }]) => {
    if (asks === undefined) return [];
    const args = given.map((arg) => (arg === "IMPORT" ? toImport : arg));
    const row = (what: string, more: readonly string[], says: RegExp): Row => ({
      what: `${command}: ${what}`,
      args: [...words(command), ...args, ...more],
      says,
    });
    return [
      row("no fleet", [], /^claviger: .*--config FILE/),
      row(
        "no such configuration",
        ["--config", "/nowhere/g.yaml"],
        /^claviger: \/nowhere\/g\.yaml: cannot be read \(ENOENT\)$/,
      ),
      row("two fleets", ["--config", broken, "--lab", broken], /^claviger: give --config or --lab, not both$/),
      row(
        "no such registry",
        ["--config", noRegistry],
        /^claviger: there is no registry \/nowhere\/clusters\.yaml yet: 'claviger cluster add' makes it$|the registry \/nowhere\/clusters\.yaml cannot be made \(ENOENT: there is/,
      ),
      row(
        "a directory as registry",
        ["--config", aFolder],
        /cannot be read \(EISDIR: it is a directory; name a file\)/,
      ),
      row(
        "a registry that is not YAML",
        ["--config", broken],
        /^claviger: .*broken-registry\/clusters\.yaml: .*(?:line|yaml)/i,
      ),
      row("a registry of another form", ["--config", noList], /^claviger: .*no-list\/clusters\.yaml: clusters: /),
      ...(/^prod(?:\/|$)/.test(args[0] ?? "")
        ? [
            row(
              "an unknown cluster",
              ["--config", world.site("other", { registry: "clusters: []\n" })],
              /^claviger: cluster "prod" is not in the registry; see: claviger cluster list$/,
            ),
          ]
        : []),
    ];
  });
}

/** Every command that asks a key's Vault, with a Vault or a token that is wrong. */
export function wrongVaults(world: World): readonly Row[] {
  const { tlsAddr, closed, strange, strangers, ca, bao, tokens } = world;
  const away = world.site("away", { main: { addresses: [closed] } });
  const noCa = world.site("no-ca", { main: { addresses: [tlsAddr] } });
  const wrongCa = world.site("wrong-ca", { main: { addresses: [tlsAddr], tls: { ca: strangers.ca } } });
  const noFile = world.site("no-ca-file", { main: { addresses: [tlsAddr], tls: { ca: "/nowhere/ca.crt" } } });
  const plain = world.site("plain", { main: { addresses: [bao.addr.replace("http:", "https:")], tls: { ca } } });
  const proxy = world.site("strange", { main: { addresses: [strange] } });
  const good = world.site("good");
  return Object.entries(commands).flatMap(([command, { args, asks }]) => {
    if (asks !== "key" && asks !== "vault") return [];
    const row = (what: string, config: string, says: RegExp, env?: Readonly<Record<string, string>>): Row => ({
      what: `${command}: ${what}`,
      args: [...words(command), ...args, "--config", config],
      says,
      ...(env && { env }),
    });
    const at = (url: string): string => `^claviger: Vault at ${RegExp.escape(url)} \\(backend main\\)`;
    return [
      row("Vault away", away, new RegExp(`${at(closed)} cannot be reached: ECONNREFUSED: nothing listens there`)),
      row(
        "no CA",
        noCa,
        new RegExp(
          `${at(tlsAddr)} cannot be reached: .*no CA is set: .*backends\\.main\\.tls\\.ca in .*no-ca/gateway\\.yaml$`,
        ),
      ),
      row(
        "a wrong CA",
        wrongCa,
        new RegExp(
          `${at(tlsAddr)} cannot be reached: .*${RegExp.escape(strangers.ca)} does not hold the CA that signed it`,
        ),
      ),
      row(
        "no such CA file",
        noFile,
        /^claviger: .*tls\.ca: \/nowhere\/ca\.crt cannot be read \(ENOENT\)$|^claviger: .*ca: \/nowhere\/ca\.crt cannot be read \(ENOENT\)$/,
      ),
      row("TLS where there is none", plain, /cannot be reached: .*(?:does not speak TLS there|protocol)/),
      row(
        "something that is no Vault",
        proxy,
        new RegExp(`${at(strange)} gave an answer that Vault does not give|Vault at ${RegExp.escape(strange)}`),
      ),
      row("no token", good, /^claviger: backend main needs your own Vault token: set VAULT_TOKEN/, {}),
      row(
        "an unknown token",
        good,
        new RegExp(`${at(bao.addr)} does not know your token \\(VAULT_TOKEN\\): .*log in again`),
        { VAULT_TOKEN: "hvs.canary" },
      ),
      row(
        "a token without rights",
        good,
        new RegExp(
          `${at(bao.addr)}:? refuses .*transit/keys/prod|${at(bao.addr)}: Vault refuses sys/mounts to this token`,
        ),
        { VAULT_TOKEN: tokens.weak },
      ),
      row(
        "a token of another Vault",
        good,
        /^claviger: VAULT_ADDR is not an address of backend main .*; set it to the one that your token is for, or unset it$/,
        { VAULT_TOKEN: tokens.root, VAULT_ADDR: closed },
      ),
      row("half a client certificate", good, /^claviger: VAULT_CLIENT_CERT and VAULT_CLIENT_KEY go together/, {
        VAULT_TOKEN: tokens.root,
        VAULT_CLIENT_CERT: ca,
      }),
    ];
  });
}
