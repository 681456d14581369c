// Sites that are not well: what is changed of the settings of one that is, and the row that says so.
import { join } from "node:path";
import type { Part } from "@claviger/cli/src/doctor/catalog.ts";
import type { DoctorRow } from "@claviger/cli/src/doctor/row.ts";

export type Tree = { [name: string]: unknown };
/** What the changes are made of. */
export type World = {
  /** Files of a pair that has expired. */
  readonly expired: { readonly cert: string; readonly key: string };
  /** A secret that others may read. */
  readonly open: string;
  /** A port that a foreign process has. */
  readonly taken: number;
  /** A registry whose only cluster has a key that there is not. */
  readonly registry: string;
};

export type Broken = {
  readonly part: Exclude<Part, "node">;
  readonly what: string;
  readonly change: (settings: Tree, world: World) => void;
  /** In a process of its own. */
  readonly env?: NodeJS.ProcessEnv;
  readonly id: string;
  readonly state: DoctorRow["state"];
  readonly found: RegExp;
};

export const at = (settings: Tree, ...path: readonly string[]): Tree =>
  path.reduce<Tree>((tree, name) => tree[name] as Tree, settings);

const wrongClock = join(import.meta.dirname, "..", "..", "lab", "wrong-clock.ts");
const behind = { NODE_OPTIONS: `--import=${wrongClock}`, CLAVIGER_TEST_CLOCK_MS: "-3600000" };
const main = (settings: Tree): Tree => at(settings, "backends", "main");
const nowhere = "https://127.0.0.1:9";

/** What goes wrong with a gateway and with a fleet service alike. */
const ofBoth = (["gateway", "fleet"] as const).flatMap((part): readonly Broken[] => [
  {
    part,
    what: "its clock is an hour behind",
    change: () => {},
    id: `${part}.clock`,
    state: "failure",
    found: /^this machine's clock is 3(?:599|600|601) s behind$/,
    env: behind,
  },
  {
    part,
    what: "a foreign process has its port",
    change: (settings, { taken }) => Object.assign(at(settings, "admin"), { port: taken }),
    id: `${part}.port`,
    state: "failure",
    found: /is taken \(EADDRINUSE\)/,
  },
  {
    part,
    what: "the key is another certificate's",
    change: (settings, { expired }) => Object.assign(at(settings, "tls"), { key: expired.key }),
    id: `${part}.tls`,
    state: "failure",
    found: /does not belong/,
  },
  {
    part,
    what: "its certificate has expired",
    change: (settings, { expired }) => Object.assign(at(settings, "tls"), expired),
    id: `${part}.certificate`,
    state: "failure",
    found: /expired/,
  },
  {
    part,
    what: "every user may read a secret",
    change: (settings, { open }) => Object.assign(at(settings, "redis"), { passwordFile: open }),
    id: `${part}.secret-files`,
    state: "warning",
    found: /every user of this machine may read/,
  },
  {
    part,
    what: "the integrity key is not there",
    change: (settings) => Object.assign(at(settings, "integrity"), { key: "another" }),
    id: `${part}.integrity`,
    state: "failure",
    found: /./,
  },
]);

export const broken: readonly Broken[] = [
  ...ofBoth,
  {
    part: "gateway",
    what: "no Vault listens",
    change: (settings) => Object.assign(at(settings, "backends", "main"), { addresses: ["http://127.0.0.1:9"] }),
    id: "gateway.vault.address",
    state: "failure",
    found: /ECONNREFUSED/,
  },
  {
    part: "gateway",
    what: "a Vault's name is one of a cluster",
    change: (settings) =>
      Object.assign(at(settings, "backends", "main"), { addresses: ["http://vault.security.svc:8200"] }),
    id: "gateway.dns",
    state: "failure",
    found: /one of a cluster's own name server/,
  },
  {
    part: "gateway",
    what: "Redis takes another password",
    change: (settings) => Object.assign(at(settings, "redis"), { passwordFile: at(settings, "tls")["cert"] }),
    id: "gateway.redis",
    state: "failure",
    found: /./,
  },
  {
    part: "gateway",
    what: "a sink cannot be written",
    change: (settings) => Object.assign(at(settings, "audit"), { sinks: [{ kind: "file", path: "/nowhere/audit" }] }),
    id: "gateway.audit",
    state: "failure",
    found: /./,
  },
  {
    part: "gateway",
    what: "the registry is not there",
    change: (settings) => Object.assign(settings, { registry: { kind: "file", file: "/nowhere/clusters.yaml" } }),
    id: "gateway.registry",
    state: "failure",
    found: /cannot be read \(ENOENT\)/,
  },
  {
    part: "gateway",
    what: "a setting that there is not",
    change: (settings) => Object.assign(settings, { nonsense: 1 }),
    id: "gateway.config",
    state: "failure",
    found: /^nonsense: no such setting$/,
  },
  {
    part: "gateway",
    what: "no gateway runs",
    change: (settings) => Object.assign(at(settings, "admin"), { port: 1 }),
    id: "gateway.running",
    state: "warning",
    found: /^no claviger-gateway answers at/,
  },
  {
    part: "fleet",
    what: "an issuer cannot be reached",
    change: (settings) =>
      Object.assign(settings, {
        oidc: { corp: { issuer: "https://127.0.0.1:9", audience: "x", groups: { all: { role: "viewer" } } } },
      }),
    id: "fleet.oidc",
    state: "failure",
    found: /https:\/\/127\.0\.0\.1:9 cannot be reached/,
  },
  {
    part: "fleet",
    what: "tokens have no place",
    change: (settings) => Object.assign(settings, { tokens: { kind: "directory", directory: "/nowhere/tokens" } }),
    id: "fleet.tokens",
    state: "failure",
    found: /\/nowhere cannot be written to/,
  },
  {
    part: "operator",
    what: "the certificate is another's",
    change: (settings) => {
      const fleet = at(settings, "contexts", "lab", "fleet");
      fleet["cert"] = fleet["ca"];
    },
    id: "operator.certificate",
    state: "failure",
    found: /does not belong to the certificate/,
  },
  {
    part: "operator",
    what: "no fleet service listens",
    change: (settings) => Object.assign(at(settings, "contexts", "lab", "fleet"), { url: "https://127.0.0.1:9" }),
    id: "operator.fleet",
    state: "failure",
    found: /ECONNREFUSED/,
  },
  {
    part: "operator",
    what: "no etcd listens",
    change: (settings) =>
      Object.assign(at(settings, "contexts", "lab"), { etcd: { "cluster-1": { endpoints: ["http://127.0.0.1:9"] } } }),
    id: "operator.etcd",
    state: "failure",
    found: /ECONNREFUSED/,
  },
  {
    part: "operator",
    what: "there is no such context",
    change: (settings) => Object.assign(settings, { current: "other" }),
    id: "operator.context",
    state: "failure",
    found: /there is no context "other"/,
  },
  {
    part: "gateway",
    what: "no Vault takes its login",
    change: (settings, { open }) => Object.assign(at(main(settings), "auth"), { secretIdFile: open }),
    id: "gateway.vault.login",
    state: "failure",
    found: /approle/,
  },
  {
    part: "gateway",
    what: "no cluster of the registry is for it",
    change: (settings) => Object.assign(settings, { serves: { matchLabels: { no: "where" } } }),
    id: "gateway.serves",
    state: "warning",
    found: /./,
  },
  {
    part: "gateway",
    what: "no collector of traces is there",
    change: (settings) => Object.assign(settings, { tracing: { endpoint: "http://127.0.0.1:9/v1/traces" } }),
    id: "gateway.tracing",
    state: "failure",
    found: /ECONNREFUSED/,
  },
  {
    part: "gateway",
    what: "a record names a key that is not there",
    change: (settings, { registry }) => Object.assign(at(settings, "registry"), { file: registry }),
    id: "gateway.key",
    state: "failure",
    found: /no such key|not there|denied/,
  },
  {
    part: "fleet",
    what: "a setting that there is not",
    change: (settings) => Object.assign(settings, { nonsense: 1 }),
    id: "fleet.config",
    state: "failure",
    found: /^nonsense: no such setting$/,
  },
  {
    part: "fleet",
    what: "a Vault's name is one of a cluster",
    change: (settings) => Object.assign(main(settings), { addresses: ["http://vault.security.svc:8200"] }),
    id: "fleet.dns",
    state: "failure",
    found: /one of a cluster's own name server/,
  },
  {
    part: "fleet",
    what: "no Vault listens",
    change: (settings) => Object.assign(main(settings), { addresses: [nowhere] }),
    id: "fleet.vault.address",
    state: "failure",
    found: /ECONNREFUSED/,
  },
  {
    part: "fleet",
    what: "no Vault takes its token",
    change: (settings, { open }) => Object.assign(at(main(settings), "auth"), { file: open }),
    id: "fleet.vault.login",
    state: "failure",
    found: /./,
  },
  {
    part: "fleet",
    what: "Redis takes another password",
    change: (settings, { open }) => Object.assign(at(settings, "redis"), { passwordFile: open }),
    id: "fleet.redis",
    state: "failure",
    found: /refuses the user name or the password/,
  },
  {
    part: "fleet",
    what: "the registry is not there",
    change: (settings) => Object.assign(settings, { registry: { kind: "file", file: "/nowhere/clusters.yaml" } }),
    id: "fleet.registry",
    state: "failure",
    found: /^\/nowhere cannot be written to \(ENOENT\)$/,
  },
  {
    part: "fleet",
    what: "a sink cannot be written",
    change: (settings) => Object.assign(at(settings, "audit"), { sinks: [{ kind: "file", path: "/nowhere/audit" }] }),
    id: "fleet.audit",
    state: "failure",
    found: /./,
  },
  {
    part: "fleet",
    what: "no fleet service runs",
    change: (settings) => Object.assign(at(settings, "admin"), { port: 1 }),
    id: "fleet.running",
    state: "warning",
    found: /^no claviger-fleet answers at/,
  },
  {
    part: "fleet",
    what: "nobody can sign certificates",
    change: (settings) =>
      Object.assign(at(settings, "certificates"), { ca: { kind: "directory", directory: "/nowhere" } }),
    id: "fleet.pki",
    state: "failure",
    found: /./,
  },
  {
    part: "operator",
    what: "its clock is an hour behind",
    change: () => {},
    id: "operator.clock",
    state: "failure",
    found: /^this machine's clock is 3(?:599|600|601) s behind$/,
    env: behind,
  },
  {
    part: "operator",
    what: "the name of the fleet service is not known",
    change: (settings) => Object.assign(at(settings, "contexts", "lab", "fleet"), { url: "https://fleet.invalid:1" }),
    id: "operator.dns",
    state: "failure",
    found: /its name is not known|the name server does not answer/,
  },
  {
    part: "operator",
    what: "no gateway listens",
    change: (settings) => Object.assign(at(settings, "contexts", "lab"), { gateways: ["http://127.0.0.1:9"] }),
    id: "operator.gateway",
    state: "failure",
    found: /no gateway answers/,
  },
  {
    part: "operator",
    what: "no Vault listens",
    change: (settings) => {
      const context = at(settings, "contexts", "lab");
      delete context["config"];
      Object.assign(context, { backends: { main: { addresses: [nowhere] } }, registry: "kv:claviger/registry" });
    },
    id: "operator.vault",
    state: "failure",
    found: /ECONNREFUSED/,
  },
  {
    part: "fleet",
    what: "the registry has no file yet",
    change: (settings, { registry }) =>
      Object.assign(settings, { registry: { kind: "file", file: `${registry}.none` } }),
    id: "fleet.registry",
    state: "warning",
    found: /^there is no \S+\.none: it is made with the first cluster/,
  },
];
