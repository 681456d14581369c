// The shim's configuration: file, then environment, then flags, into one frozen object; every
// problem at once. Nothing secret is in it: keys are file paths.
import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import {
  acceptRenamed,
  checkConfig,
  ConfigError,
  isHttpsOrigin,
  isTree,
  readYamlFile,
  type Tree,
  z,
  zDuration,
  zInteger,
  zPath,
} from "@claviger/proto/runtime/config.ts";
import { tracingSchema } from "@claviger/proto/runtime/tracing.ts";
import { limits } from "@claviger/proto/wire/protocol.ts";

const socketPath = z.string().check(
  // Node cuts a longer path silently on some releases; '@' would make a file of that name instead
  // of an abstract socket. (docs/kms-contract.md facts 10 and 11.)
  z.refine((path) => Buffer.byteLength(path) <= limits.socketPath, {
    error: `must be at most ${limits.socketPath} bytes`,
  }),
  z.refine((path) => path.startsWith("/") && !path.includes("\0"), {
    error: "must be an absolute path; abstract sockets ('@name') are not offered",
  }),
);

const httpsUrl = z.string().check(z.refine(isHttpsOrigin, { error: "must be https://HOST:PORT, without a path" }));

/** The schema of shim.yaml; docs/reference/settings.md is generated from it. */
export const shimConfig = z.strictObject({
  socket: z.strictObject({
    /** The socket that kube-apiserver connects to. */
    path: socketPath,
    /** Permission bits, octal. kube-apiserver needs to write to it. */
    mode: z._default(
      z.string().check(z.regex(/^0?[0-7]{3}$/, { error: 'must be three octal digits, e.g. "0600" or "0660"' })),
      "0600",
    ),
    /** Numeric group of the socket; the shim's own when absent. */
    group: z.optional(zInteger(0, 4_294_967_294)),
  }),
  /** The gateways, in any order: one that answers is enough. */
  gateways: z.array(httpsUrl).check(z.minLength(1, { error: "must list at least one gateway" }), z.maxLength(32)),
  tls: z.strictObject({
    /** The node's certificate and its intermediates, PEM. Read again when the file changes. */
    cert: zPath,
    /** The private key of `cert`, PEM. */
    key: zPath,
    /** The CA certificates that gateways are verified against, PEM. */
    ca: zPath,
    /** The name that a gateway's certificate must carry, where that is not the host of its URL. */
    serverName: z.optional(z.string()),
    /**
     * SPIFFE ids (`spiffe://...`) and DNS names, of which a gateway's certificate must carry one,
     * whatever the host of its URL is. `serverName` is then only what is sent as SNI.
     */
    serverIdentities: z.optional(
      z
        .array(
          z.string().check(
            z.regex(/^(?:spiffe:\/\/[a-z0-9._-]+\/[A-Za-z0-9._/-]+|(?!.*:\/\/)[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)$/, {
              error: "must be a SPIFFE id (spiffe://...) or a DNS name",
            }),
          ),
        )
        .check(z.minLength(1, { error: "must list at least one identity" }), z.maxLength(16)),
    ),
  }),
  /**
   * The node's certificate is renewed here after two thirds of its life. `tls.cert` and `tls.key` are then one
   * file, as `claviger-shim enroll` writes it. Where it is absent, somebody else replaces the files.
   */
  renewal: z.optional(
    z.strictObject({
      /** The fleet service, verified by `tls.ca`. */
      url: httpsUrl,
    }),
  ),
  /** /livez, /readyz and /metrics: plain HTTP. */
  health: z._default(
    z.strictObject({
      /** The address that they listen on. */
      address: z._default(z.string(), "127.0.0.1"),
      /** Their port; 0 takes a free one. */
      port: zInteger(0, 65_535),
    }),
    { address: "127.0.0.1", port: 9101 },
  ),
  outage: z._default(
    z.strictObject({
      /** How long Status says ok on the last key_id while no gateway answers. */
      healthyFor: z._default(zDuration("0s", "24h"), 600_000),
      /** How long after that it says what is wrong, before it becomes an error. */
      degradedFor: z._default(zDuration("0s", "168h"), 3_600_000),
    }),
    { healthyFor: 600_000, degradedFor: 3_600_000 },
  ),
  /** Last key_id and since when; default: the socket's path with `.state`. */
  stateFile: z.optional(zPath),
  limits: z._default(
    z.strictObject({
      /** Calls under way; more are refused at once. */
      calls: z._default(zInteger(1, 100_000), 2048),
      /** Open connections to the socket; at the bound the quietest one is closed. */
      connections: z._default(zInteger(2, 10_000), 64),
    }),
    { calls: 2048, connections: 64 },
  ),
  /** Traces to an OpenTelemetry collector; the SDK is loaded only where this stands. */
  tracing: z.optional(tracingSchema),
  log: z._default(
    z.strictObject({
      /** The least level that is logged. */
      level: z._default(z.enum(["debug", "info", "warn", "error"]), "info"),
    }),
    { level: "info" },
  ),
});

export type ShimConfig = z.infer<typeof shimConfig>;

type Override = {
  readonly path: readonly string[];
  readonly isList?: boolean;
  readonly isNumber?: boolean;
  readonly help: string;
};

/** What flags and environment may set: `--socket` is CLAVIGER_SHIM_SOCKET. */
export const overrides: Readonly<Record<string, Override>> = {
  socket: { path: ["socket", "path"], help: "socket path for kube-apiserver" },
  "socket-mode": { path: ["socket", "mode"], help: "permission bits of the socket, octal (0600)" },
  "socket-group": { path: ["socket", "group"], isNumber: true, help: "numeric group of the socket" },
  gateway: { path: ["gateways"], isList: true, help: "gateway URLs, separated by commas" },
  cert: { path: ["tls", "cert"], help: "client certificate, PEM file" },
  key: { path: ["tls", "key"], help: "its key, PEM file" },
  ca: { path: ["tls", "ca"], help: "CA of the gateways, PEM file" },
  "health-address": { path: ["health", "address"], help: "address of /livez, /readyz, /metrics (127.0.0.1)" },
  "health-port": { path: ["health", "port"], isNumber: true, help: "its port (9101)" },
  "healthy-for": { path: ["outage", "healthyFor"], help: "how long Status stays ok without a gateway (10m)" },
  "degraded-for": { path: ["outage", "degradedFor"], help: "how long after that writes go on (1h)" },
  "state-file": { path: ["stateFile"], help: "where the last key_id is kept (SOCKET.state)" },
  "log-level": { path: ["log", "level"], help: "debug, info, warn or error" },
};

/** Settings of 0.1.0 that have another name now, as flags and within `outage`. */
const renamedFlags: Readonly<Record<string, string>> = { "ready-for": "healthy-for", "writable-for": "degraded-for" };
const renamedOutage = { readyFor: "healthyFor", writableFor: "degradedFor" } as const;

/** Every flag that sets something, those of 0.1.0 included. */
export const flagNames: readonly string[] = [...Object.keys(overrides), ...Object.keys(renamedFlags)];

/** The environment variable that stands for a flag. */
export function environmentName(flag: string): string {
  return `CLAVIGER_SHIM_${flag.toUpperCase().replaceAll("-", "_")}`;
}

/** Flags and environment under the names of now; a flag counts before the environment. */
function givenSettings(
  flags: Readonly<Record<string, string | undefined>>,
  env: Readonly<Record<string, string | undefined>>,
  warn: (line: string) => void,
): Readonly<Record<string, string | undefined>> {
  const variables = Object.fromEntries(flagNames.map((name) => [environmentName(name), name]));
  const named = Object.entries(env).flatMap(([name, text]) =>
    variables[name] === undefined || text === undefined ? [] : [[variables[name], text] as const],
  );
  const given = { ...Object.fromEntries(named), ...flags };
  return Object.fromEntries(
    Object.entries(given).flatMap(([name, text]) => {
      const next = renamedFlags[name];
      if (next === undefined || text === undefined) return [[name, text] as const];
      warn(`--${name} is now called --${next}; the earlier name is read until the next release`);
      return given[next] === undefined ? [[next, text] as const] : [];
    }),
  );
}

function withValue(tree: Tree, [head = "", ...rest]: readonly string[], value: unknown): Tree {
  const inner = tree[head];
  return { ...tree, [head]: rest.length === 0 ? value : withValue(isTree(inner) ? inner : {}, rest, value) };
}

/**
 * Reads and merges. The file may be missing when flags and environment say everything.
 * @param warn called with one line for each setting that stands under an earlier name
 * @throws ConfigError with every problem
 */
export function loadShimConfig(
  file: string | undefined,
  flags: Readonly<Record<string, string | undefined>>,
  env: Readonly<Record<string, string | undefined>>,
  warn: (line: string) => void = () => {},
): ShimConfig {
  const read = file === undefined ? {} : readYamlFile(file);
  if (!isTree(read)) throw new ConfigError(file ?? "configuration", ["must be a mapping of settings"]);
  let tree: Tree = read;
  if (isTree(read["outage"])) tree = { ...read, outage: acceptRenamed(read["outage"], renamedOutage, "outage.", warn) };
  const given = givenSettings(flags, env, warn);
  for (const [name, { path, isList, isNumber }] of Object.entries(overrides)) {
    const text = given[name];
    if (text === undefined) continue;
    tree = withValue(tree, path, isList === true ? text.split(",") : isNumber === true ? Number(text) : text);
  }
  const config = checkConfig(file ?? "configuration", tree, shimConfig);
  if (config.renewal !== undefined && config.tls.cert !== config.tls.key)
    throw new ConfigError(file ?? "configuration", [
      "renewal: tls.cert and tls.key must be one file, so that both are replaced at once; 'claviger-shim enroll' writes it",
    ]);
  return config;
}

/** SHA-256 of the settings, its first 16 hexadecimal digits: paths and addresses, nothing secret. */
export function configHash(config: ShimConfig): string {
  return createHash("sha256").update(JSON.stringify(config)).digest("hex").slice(0, 16);
}

/** The settings, by their first name, in which two configurations differ. */
export function changedSettings(before: ShimConfig, after: ShimConfig): readonly string[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])] as readonly (keyof ShimConfig)[];
  return names.filter((name) => !isDeepStrictEqual(before[name], after[name]));
}
