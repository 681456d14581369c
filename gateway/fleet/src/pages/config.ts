// The settings of the console: pages that this service serves beside its API. (docs/control-plane.md.)
import { isHttpsOrigin, z, zDuration, zName, zPath } from "@claviger/proto/runtime/config.ts";
import { issuerName } from "@claviger/proto/wire/names.ts";

const scope = z.string().check(z.regex(/^[\x21\x23-\x5B\x5D-\x7E]{1,64}$/, { error: "must be the name of a scope" }));

/** The schema of the section; docs/reference/settings.md is generated from it. */
export const consoleSettings = z.strictObject({
  console: z._default(
    z.strictObject({
      /** Whether the pages are served. */
      enabled: z._default(z.boolean(), true),
      /** Where the pages are, as `npm run build` makes them; beside the program where it is absent. */
      directory: z.optional(zPath),
      /** Where browsers reach this service, https://HOST:PORT. Required with `login`. */
      url: z.optional(z.string().check(z.refine(isHttpsOrigin, { error: "must be https://HOST:PORT" }))),
      /** Lets people log in with their browser. Without it they come with `claviger console`. */
      login: z.optional(
        z.strictObject({
          /** The name of the issuer in `oidc`; its `audience` is the client that the browser logs in for. */
          issuer: zName(issuerName),
          /** The file of the client's secret, where the issuer wants one. */
          clientSecretFile: z.optional(zPath),
          /** What is asked for beside `openid`. */
          scopes: z._default(z.array(scope), []),
          /** How long a session lasts at most; it ends with the token that it began with in any case. */
          lifetime: z._default(zDuration("5m", "24h"), 28_800_000),
          /**
           * A file with at least 32 random bytes that sessions are sealed with: the same for all replicas. Without it
           * each has a key of its own, and sessions end with the process.
           */
          sessionKeyFile: z.optional(zPath),
        }),
      ),
    }),
    { enabled: true },
  ),
});

export type ConsoleConfig = z.infer<typeof consoleSettings>["console"];

/** @param issuers the names in `oidc` */
export function consoleProblems({ login, url }: ConsoleConfig, issuers: readonly string[]): readonly string[] {
  if (login === undefined) return [];
  return [
    ...(issuers.includes(login.issuer) ? [] : [`console.login.issuer: ${login.issuer} is none of 'oidc'`]),
    ...(url === undefined
      ? ["console.url: is required with login; it is where the issuer sends the browser back to"]
      : []),
  ];
}
