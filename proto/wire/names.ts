// Names and ids, parsed once at the edge and branded: below a route or a config file nothing takes
// a bare string for one.

declare const brand: unique symbol;
type Branded<B extends string> = string & { readonly [brand]: B };

/** A tenant: an RFC 1123 label, at most 63 characters. */
export type ClusterName = Branded<"ClusterName">;
/**
 * A cluster for life: a ULID, 26 characters of Crockford base32. Never given to another cluster.
 */
export type ClusterUid = Branded<"ClusterUid">;
/** A control-plane node: an RFC 1123 subdomain, at most 253 characters. */
export type NodeName = Branded<"NodeName">;
/** A person or a pipeline that runs the fleet: same form as a node name. */
export type OperatorName = Branded<"OperatorName">;
/** An issuer of tokens for operators, for life: an RFC 1123 label. */
export type IssuerName = Branded<"IssuerName">;
/**
 * A person or a pipeline that a token names: `oidc:ISSUER:NAME`, the issuer by its name in the configuration. No
 * name of a certificate has a colon.
 */
export type TokenOperatorName = Branded<"TokenOperatorName">;
/** Whoever runs the fleet, as records and messages name them. */
export type AnyOperatorName = OperatorName | TokenOperatorName;
/**
 * A SPIFFE trust domain: lower-case letters, digits, dots, dashes and underscores, at most 255
 * characters.
 */
export type TrustDomain = Branded<"TrustDomain">;
/** A key backend's logical name, for life: an RFC 1123 label. */
export type BackendName = Branded<"BackendName">;
/**
 * A Transit mount path: segments of letters, digits, `_`, `-` and `.`, joined by `/`; no leading,
 * trailing or dotted segment.
 */
export type MountPath = Branded<"MountPath">;
/**
 * A Transit key name: letters, digits, `_`, `-` and `.`, at most 128 characters, not starting with
 * a dot.
 */
export type KeyName = Branded<"KeyName">;
/**
 * What Kubernetes calls key_id: public, 1..1024 bytes; ours is `clv1.` and 43 characters of
 * base64url.
 */
export type KeyId = Branded<"KeyId">;

/** One kind of name. `rule` completes the sentence "must be ...". */
export type NameKind<T extends string> = {
  readonly rule: string;
  readonly is: (value: unknown) => value is T;
  /**
   * @throws TypeError with the rule, when the value breaks it. The value itself is not in the
   * message.
   */
  readonly parse: (value: unknown) => T;
};

const label = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?";

function kind<T extends string>(what: string, pattern: RegExp, maxLength: number, rule: string): NameKind<T> {
  const is = (value: unknown): value is T =>
    typeof value === "string" && value.length <= maxLength && pattern.test(value);
  return {
    rule,
    is,
    parse(value) {
      if (!is(value)) throw new TypeError(`${what} must be ${rule}`);
      return value;
    },
  };
}

const subdomain = new RegExp(`^${label}(?:\\.${label})*$`);

export const clusterName = kind<ClusterName>(
  "a cluster name",
  new RegExp(`^${label}$`),
  63,
  "lower-case letters, digits and '-', at most 63 characters",
);
export const clusterUid = kind<ClusterUid>(
  "a cluster uid",
  /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/,
  26,
  "a ULID: 26 characters of Crockford base32, upper case",
);
export const nodeName = kind<NodeName>("a node name", subdomain, 253, "a lower-case DNS name, at most 253 characters");
export const operatorName = kind<OperatorName>(
  "an operator name",
  subdomain,
  253,
  "a lower-case DNS name, at most 253 characters",
);
export const issuerName = kind<IssuerName>(
  "the name of an issuer",
  new RegExp(`^${label}$`),
  63,
  "lower-case letters, digits and '-', at most 63 characters",
);
export const tokenOperatorName = kind<TokenOperatorName>(
  "an operator's name in a token",
  new RegExp(`^oidc:${label}:(?! )[^\\p{C}\\p{Zl}\\p{Zp}]{1,256}(?<! )$`, "u"),
  325,
  "1 to 256 characters that can be seen, with no space at either end",
);
export const trustDomain = kind<TrustDomain>(
  "a trust domain",
  /^[a-z0-9._-]+$/,
  255,
  "lower-case letters, digits, '.', '-' and '_', at most 255 characters",
);
export const backendName = kind<BackendName>(
  "a backend name",
  new RegExp(`^${label}$`),
  63,
  "lower-case letters, digits and '-', at most 63 characters",
);
export const mountPath = kind<MountPath>(
  "a mount",
  /^[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:\/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*$/,
  100,
  "path segments of letters, digits, '_', '-' and '.', joined by '/', at most 100 characters, no segment starting with '.'",
);
export const keyName = kind<KeyName>(
  "a key name",
  /^[A-Za-z0-9_-][A-Za-z0-9_.-]*$/,
  128,
  "letters, digits, '_', '-' and '.', at most 128 characters, not starting with '.'",
);
export const keyId = kind<KeyId>("a key_id", /^clv1\.[A-Za-z0-9_-]{43}$/, 48, "'clv1.' and 43 characters of base64url");
