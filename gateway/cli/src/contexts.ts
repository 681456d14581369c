// Named fleets of an operator, as kubectl has contexts: where Vault, registry, Redis and etcds are,
// without a gateway's configuration. A context holds addresses and paths of files; no token and no
// password, which the schema has no place for.
import { statSync } from "node:fs";
import {
  checkConfig,
  ConfigError,
  isTree,
  parseYaml,
  type Tree,
  z,
  zName,
  zPath,
} from "@claviger/proto/runtime/config.ts";
import { isSafeUrl } from "@claviger/proto/runtime/https-fetch.ts";
import { backendName, clusterName, mountPath } from "@claviger/proto/wire/names.ts";
import { backendSchema } from "@claviger/gateway-core/src/backend/config.ts";
import { gatewayConfig } from "@claviger/gateway-core/src/config.ts";
import type { GatewayConfig } from "@claviger/gateway-core/src/config.ts";
import { CliError } from "./commander.ts";
import { readTextFile } from "./outside.ts";

const { registry, redis, integrity } = gatewayConfig.shape;

const url = z
  .string()
  .check(z.refine((text) => /^https?:\/\/./.test(text) && URL.canParse(text), { error: "must be a URL" }));

const plain = z.string({ error: "must be a text" }).check(z.minLength(1, { error: "must not be empty" }));

const oidcSchema = z.strictObject({
  /** The issuer, as `oidc` in fleet.yaml has it. */
  issuer: z
    .string({ error: "must be an https:// URL" })
    .check(z.refine(isSafeUrl, { error: "must be an https:// URL" })),
  /** The client that this command is to the issuer: a public one, with PKCE and redirects to 127.0.0.1. */
  clientId: plain,
  /**
   * Asks for an access token for this audience and shows that one; absent, the ID token is shown, whose audience
   * is the client.
   */
  audience: z.optional(plain),
  /** Beside `openid`: what gives groups, and `offline_access` for a session that is renewed. */
  scopes: z._default(z.array(plain), []),
  /** The CA that the issuer is verified by, PEM; Node.js' own when absent. */
  ca: z.optional(zPath),
});

const contextSchema = z.strictObject({
  /** A gateway's configuration, which says all of the settings below it but `gateways` and `etcd`. */
  config: z.optional(zPath),
  /** As in a gateway's configuration; `kind` is vault and `auth` is not needed. */
  backends: z.optional(z.record(zName(backendName), backendSchema)),
  /** As in a gateway's configuration, or a path, or `kv:MOUNT/PATH`. */
  registry: z.optional(registry),
  redis,
  integrity,
  /** The fleet service, and who the operator is to it: a certificate, or tokens of an issuer. */
  fleet: z.optional(
    z
      .strictObject({
        /** https://HOST:PORT */
        url,
        /** The CA that it is verified by, PEM. */
        ca: zPath,
        /** The operator's certificate, PEM. */
        cert: z.optional(zPath),
        /** Its key, PEM. */
        key: z.optional(zPath),
        /** Where `claviger login` gets tokens, instead of cert and key. */
        oidc: z.optional(oidcSchema),
      })
      .check(
        z.refine(({ cert, key }) => (cert === undefined) === (key === undefined), {
          error: "cert and key go together",
        }),
        z.refine(({ cert, oidc }) => cert === undefined || oidc === undefined, {
          error: "cert and key, or oidc: one call has one caller",
        }),
      ),
  ),
  /** Second listeners of the gateways, to wait for after an edit of the registry. */
  gateways: z.optional(z.array(url)),
  /** The etcds of clusters, for `key usage` and `retire`. */
  etcd: z.optional(
    z.record(
      zName(clusterName),
      z.strictObject({
        /** Client addresses of its members, http://HOST:PORT or https://HOST:PORT. */
        endpoints: z.array(url),
        /** The CA that they are verified by, PEM. */
        ca: z.optional(zPath),
        /** The client certificate that they want, PEM. */
        cert: z.optional(zPath),
        /** Its key, PEM. */
        key: z.optional(zPath),
      }),
    ),
  ),
});
/** The schema of a file of contexts, as it is once short forms are written out. */
export const contextsSchema = z.strictObject({
  /** The context that commands use where none is named; `claviger context use` sets it. */
  current: z.optional(z.string()),
  /** Fleets by names of your choosing. */
  contexts: z.record(z.string(), contextSchema),
});

export type Context = z.infer<typeof contextSchema>;
export type FleetAddress = NonNullable<Context["fleet"]>;
export type FleetOidc = z.infer<typeof oidcSchema>;
export type Contexts = z.infer<typeof contextsSchema>;
type RegistryConfig = GatewayConfig["registry"];

/** An operator logs in with a token of their own. */
export const ownLogin = { kind: "token-file", file: "~/.vault-token" } as const;

/** A registry as `--registry` names it: `kv:MOUNT/PATH` of a backend, or the path of a file or directory. @throws CliError */
export function parseRegistryRef(text: string, backend: string): RegistryConfig {
  const kv = /^kv:([^/]+)(?:\/(.+))?$/.exec(text);
  if (kv === null) {
    if (text === "" || text.startsWith("kv:"))
      throw new CliError(`--registry ${text} is neither kv:MOUNT/PATH nor the path of a file`);
    const path = text.replace(/^file:/, "");
    const isDirectory = statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
    return isDirectory ? { kind: "directory", directory: path } : { kind: "file", file: path };
  }
  const [, mount = "", path = "registry"] = kv;
  if (!mountPath.is(mount) || !mountPath.is(path))
    throw new CliError(`--registry ${text}: MOUNT and PATH must each be ${mountPath.rule}`);
  return { kind: "vault", backend: backendName.parse(backend), mount, path };
}

/** What may be left out or written shorter than in a gateway's configuration. */
function completed(context: unknown): unknown {
  if (!isTree(context)) return context;
  const { backends, registry: where } = context;
  const all: Tree = isTree(backends) ? backends : {};
  const [first = "main"] = Object.keys(all);
  const whole = Object.entries(all).map(([name, backend]) => {
    if (!isTree(backend)) return [name, backend];
    const kind = backend["kind"] ?? "vault";
    return [name, kind === "vault" ? { auth: ownLogin, ...backend, kind } : backend];
  });
  return {
    ...context,
    ...(backends !== undefined && { backends: Object.fromEntries(whole) as Tree }),
    ...(typeof where === "string" && { registry: parseRegistryRef(where, first) }),
  };
}

/** Is this the text of a file of contexts, and not a gateway's configuration? */
export function holdsContexts(file: string, text: string): boolean {
  const tree = parseYaml(file, text);
  return isTree(tree) && "contexts" in tree;
}

/** @throws ConfigError with every problem */
export function parseContexts(file: string, text: string): Contexts {
  const tree = parseYaml(file, text);
  // What $CLAVIGER_CONFIG names is read by other commands, too.
  if (isTree(tree) && !("contexts" in tree) && "listen" in tree && "backends" in tree)
    throw new ConfigError(file, [
      "is the configuration of a gateway, and no file of contexts: name one with --config (docs/programs.md)",
    ]);
  const contexts = isTree(tree) ? tree["contexts"] : undefined;
  const whole = isTree(contexts)
    ? {
        ...(tree as Tree),
        contexts: Object.fromEntries(Object.entries(contexts).map(([name, one]) => [name, completed(one)])),
      }
    : tree;
  const parsed = checkConfig(file, whole, contextsSchema);
  const problems = Object.entries(parsed.contexts).flatMap(([name, one]) =>
    [
      ...(/^[\w.-]{1,64}$/.test(name) ? [] : ["a name must be 1 to 64 letters, digits and '_.-'"]),
      ...problemsOf(one),
    ].map((problem) => `contexts.${name}: ${problem}`),
  );
  if (problems.length > 0) throw new ConfigError(file, problems);
  return parsed;
}

function problemsOf({
  config,
  backends,
  registry: where,
  redis: server,
  integrity: key,
  fleet,
}: Context): readonly string[] {
  if (config !== undefined)
    return (backends ?? where ?? server ?? key)
      ? ["config says backends, registry, redis and integrity; give one or the other"]
      : [];
  if (fleet !== undefined && backends === undefined && where === undefined) return [];
  if (backends === undefined || where === undefined)
    return ["needs config (a gateway's configuration), or backends and registry, or fleet"];
  const named = [
    ...(where.kind === "vault" ? [["registry", where.backend]] : []),
    ...(key ? [["integrity", key.backend]] : []),
  ];
  return [
    ...named.flatMap(([what = "", name = ""]) =>
      Object.hasOwn(backends, name) ? [] : [`${what}: ${name} is not one of its backends`],
    ),
    ...(server !== undefined && key === undefined ? ["integrity is required with redis"] : []),
  ];
}

/** A context by its name, or the current one. @throws CliError */
export function contextOf(
  file: string,
  { contexts, current }: Contexts,
  name = current,
): readonly [name: string, context: Context] {
  if (name === undefined)
    throw new CliError(`${file} has no current context: claviger context use NAME, or --context NAME`);
  const found = Object.hasOwn(contexts, name) ? contexts[name] : undefined;
  if (found === undefined)
    throw new CliError(
      `there is no context ${JSON.stringify(name)} in ${file}; it has ${Object.keys(contexts).join(", ") || "none"}`,
    );
  return [name, found];
}

/** @throws CliError or ConfigError */
export function readContexts(file: string): Contexts {
  return parseContexts(file, readTextFile(file));
}
