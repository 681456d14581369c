// The settings of OpenID Connect issuers whose tokens name operators. (docs/architecture.md #control-plane.)
import { z, zDuration, zName, zPath } from "@claviger/proto/runtime/config.ts";
import { isSafeUrl } from "@claviger/proto/runtime/https-fetch.ts";
import { issuerName } from "@claviger/proto/wire/names.ts";
import { grantSchema } from "../grants.ts";

/** None with a shared secret, and not `none`. */
export const algorithms = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
] as const;

const text = z
  .string({ error: "must be 1 to 256 characters" })
  .check(z.regex(/^[^\p{C}\p{Zl}\p{Zp}]{1,256}$/u, { error: "must be 1 to 256 characters" }));

const issuer = z
  .strictObject({
    /** The issuer, exactly as its tokens have it in `iss`; its keys are found by `/.well-known/openid-configuration` below it. */
    issuer: z
      .string({ error: "must be an https:// URL" })
      .check(z.refine((url) => isSafeUrl(url) && !/[?#]/.test(url), { error: "must be an https:// URL" })),
    /** Tokens must have it in `aud`: the client id of the CLI, as a rule. Tokens for others are refused. */
    audience: text,
    /** The CA certificates that the issuer is verified against, PEM; Node.js' own when absent. */
    ca: z.optional(zPath),
    /** The signature algorithms that count. */
    algorithms: z._default(
      z.array(z.enum(algorithms)).check(z.minLength(1, { error: "must list at least one algorithm" })),
      ["RS256", "ES256", "EdDSA"],
    ),
    claims: z._default(
      z.strictObject({
        /** The claim that names the operator. One that its holder can change at the issuer is none for this. */
        name: z._default(text, "sub"),
        /** The claim that lists the operator's groups. */
        groups: z._default(text, "groups"),
      }),
      { name: "sub", groups: "groups" },
    ),
    /** How long after it was issued (`iat`) a token counts at most, whatever its `exp` says. */
    lifetime: z._default(zDuration("1m", "168h"), 86_400_000),
    /** How long the keys that were read last count while the issuer cannot be reached. They are read anew every 5 minutes. */
    keepKeys: z._default(zDuration("5m", "24h"), 3_600_000),
    /** Who may do what, by the claim that names the operator. */
    operators: z._default(z.record(text, grantSchema), {}),
    /**
     * Who may do what, by group; it counts for those whom `operators` does not name. Of several the highest role
     * counts, for the clusters of the groups that give it.
     */
    groups: z._default(z.record(text, grantSchema), {}),
  })
  .check(
    z.refine(({ operators, groups }) => Object.keys(operators).length + Object.keys(groups).length > 0, {
      error: "must name somebody in operators or groups",
    }),
  );

/** Issuers, by a name for life: an operator is `oidc:ISSUER:NAME` in audit records. */
export const oidcSchema = z.record(zName(issuerName), issuer);

export type OidcConfig = z.infer<typeof oidcSchema>;
export type IssuerConfig = z.infer<typeof issuer>;

/** Two entries that the same token would fit, one line each. */
export function oidcProblems(oidc: OidcConfig): readonly string[] {
  const seen = new Map<string, string>();
  return Object.entries(oidc).flatMap(([name, { issuer: url, audience }]) => {
    const id = JSON.stringify([url, audience]);
    const other = seen.get(id);
    seen.set(id, name);
    return other === undefined ? [] : [`oidc.${name}: has the issuer and the audience of oidc.${other}`];
  });
}
