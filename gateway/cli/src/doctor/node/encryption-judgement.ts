// What in an EncryptionConfiguration does not do what its author wanted. Nothing is opened here.
import type { EncryptionConfig, Entry, KmsProvider } from "./encryption-config.ts";
import { judgeResources } from "./encryption-resources.ts";
import type { Judged } from "../row.ts";

/** What stands around the file. */
export type Around = {
  /** Is the endpoint of a provider the shim's socket? */
  readonly isOurs: (endpoint: string) => boolean;
  readonly socket: string;
  /** The configuration that was in use before an edit. */
  readonly before?: EncryptionConfig | undefined;
};

const prefix = "node.encryption-config";

function kmsOf(config: EncryptionConfig): readonly KmsProvider[] {
  return config.flatMap(({ providers }) => providers.flatMap(({ kms }) => (kms === undefined ? [] : [kms])));
}

function judgeVersions(providers: readonly KmsProvider[]): readonly Judged[] {
  const id = `${prefix}.kms-v1-by-omission`;
  const wrong = providers.filter(({ apiVersion }) => apiVersion !== "v2");
  if (wrong.length === 0) return [{ id, verdict: "ok", found: "each kms provider says apiVersion: v2" }];
  return wrong.map(({ name, apiVersion }) => {
    if (apiVersion === undefined)
      return {
        id,
        verdict: "failed",
        found: `provider ${name} says no apiVersion, which means v1: kube-apiserver does not start, or encrypts each object under a key of its own`,
        cure: `write apiVersion: v2 into provider ${name}`,
      };
    if (apiVersion !== "v1")
      return {
        id,
        verdict: "failed",
        found: `provider ${name} says apiVersion: ${apiVersion}: kube-apiserver does not start`,
        cure: `write apiVersion: v2 into provider ${name}`,
      };
    return {
      id,
      verdict: "warning",
      found: `provider ${name} says apiVersion: ${apiVersion}`,
      cure: "add a provider with apiVersion: v2 and another name in front of it, migrate storage, then remove this one",
    };
  });
}

function judgeEndpoints(providers: readonly KmsProvider[], { isOurs, socket }: Around): Judged {
  const id = `${prefix}.endpoint`;
  if (providers.length === 0)
    return {
      id,
      verdict: "failed",
      found: "there is no kms provider",
      cure: `add one with endpoint: unix://${socket}`,
    };
  if (providers.some(({ endpoint }) => isOurs(endpoint)))
    return { id, verdict: "ok", found: `a provider has the shim's socket ${socket}` };
  const all = providers.map(({ endpoint }) => endpoint).join(", ");
  return {
    id,
    verdict: "failed",
    found: `no provider has the shim's socket ${socket}: ${all}`,
    cure: `endpoint: unix://${socket} (three slashes), or the same path as socket.path of the shim`,
  };
}

const units: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Milliseconds of a duration as Go's time.ParseDuration reads it; undefined for what is none. */
export function goDuration(text: string): number | undefined {
  const number = String.raw`(?:\d+(?:\.\d*)?|\.\d+)`;
  const unit = "ns|us|µs|μs|ms|s|m|h";
  if (/^[+-]?0$/.test(text)) return 0;
  if (!new RegExp(`^[+-]?(?:${number}(?:${unit}))+$`).test(text)) return undefined;
  const sum = [...text.matchAll(new RegExp(`(${number})(${unit})`, "g"))].reduce(
    (ms, [, n, name = ""]) => ms + Number(n) * (units[name] ?? 0),
    0,
  );
  return text.startsWith("-") ? -sum : sum;
}

const defaultTimeoutMs = 3000;
const shortMs = 1000;
const longMs = 10_000;

function judgeTimeout({ name, timeout }: KmsProvider): Judged {
  const id = `${prefix}.timeout`;
  const ms = timeout === undefined ? defaultTimeoutMs : goDuration(timeout);
  if (ms === undefined || ms <= 0) {
    const why = ms === undefined ? "is no duration" : "is not more than zero";
    const found = `provider ${name}: timeout ${timeout} ${why}: kube-apiserver does not start`;
    return { id, verdict: "failed", found, cure: "timeout: 3s" };
  }
  if (ms < shortMs || ms > longMs) {
    const why =
      ms < shortMs
        ? "a gateway that is slow for a moment is an error of kube-apiserver"
        : "a plugin that is down adds it to each start, and no gateway works longer than 10 s at a call";
    return { id, verdict: "warning", found: `provider ${name}: timeout ${timeout}: ${why}`, cure: "timeout: 3s" };
  }
  return { id, verdict: "ok", found: `provider ${name}: ${timeout ?? "3s, as none is said"}` };
}

function judgeOrder({ resources, providers }: Entry, { isOurs }: Around): Judged | undefined {
  const id = `${prefix}.order`;
  const at = providers.findIndex(({ kms }) => kms !== undefined && isOurs(kms.endpoint));
  const first = providers[0];
  if (at === -1 || first === undefined) return undefined;
  const what = resources.join(", ");
  if (at === 0) return { id, verdict: "ok", found: `${what}: written through the shim` };
  const writer = first.kms?.name ?? first.kind;
  const how = first.kind === "identity" ? "in the clear" : `under ${writer}`;
  return {
    id,
    verdict: "warning",
    found: `${what}: written ${how}, since ${writer} stands first; the shim only reads`,
    cure: "right for the first phase of a roll-out; once every kube-apiserver has this file, put kms first on each",
  };
}

function judgeIdentity(entry: Entry, { isOurs, before }: Around): Judged | undefined {
  const id = `${prefix}.identity`;
  const { resources, providers } = entry;
  if (!providers.some(({ kms }) => kms !== undefined && isOurs(kms.endpoint))) return undefined;
  const what = resources.join(", ");
  const at = providers.findIndex(({ kind }) => kind === "identity");
  if (at !== -1) return { id, verdict: "ok", found: `${what}: what is stored in the clear can be read` };
  const earlier = before?.find((one) => one.resources.some((name) => resources.includes(name)));
  if (earlier?.providers[0]?.kind === "identity")
    return {
      id,
      verdict: "failed",
      found: `${what}: there is no identity, and the file before wrote in the clear: none of that can be read`,
      cure: "add identity: {} as the last provider, migrate storage, and only then remove it",
    };
  return {
    id,
    verdict: "not tried",
    found: `${what}: there is no identity; right once storage is migrated, which this file does not say`,
    cure: "claviger key usage counts what is stored, and --before FILE compares with the file of before",
  };
}

function judgeNames(config: EncryptionConfig, { before }: Around): readonly Judged[] {
  const id = `${prefix}.name`;
  const names = kmsOf(config).map(({ name }) => name);
  const twice = new Set(names.filter((name, at) => names.indexOf(name) !== at));
  const lost = kmsOf(before ?? []).filter(({ name }) => !names.includes(name));
  const wrong: readonly Judged[] = [
    ...[...twice].map((name) => ({
      id,
      verdict: "failed" as const,
      found: `two providers are called ${name}: kube-apiserver does not start`,
      cure: "put both resources under one provider, or give the second another name",
    })),
    ...names
      .filter((name) => name.includes(":"))
      .map((name) => ({
        id,
        verdict: "failed" as const,
        found: `the name ${name} has a colon: kube-apiserver does not start`,
        cure: "take another name; it stands in every stored value, for life",
      })),
    ...lost.map(({ name }) => ({
      id,
      verdict: "failed" as const,
      found: `provider ${name} of the file before is gone: what is stored under that name cannot be read`,
      cure: `keep the name ${name}; to change it, list both, the new one first, migrate storage, then remove it`,
    })),
  ];
  return wrong.length > 0 ? wrong : [{ id, verdict: "ok", found: names.join(", ") || "there is none" }];
}

/** Everything that the file alone says. */
export function judgeEncryption(config: EncryptionConfig, around: Around): readonly Judged[] {
  const providers = kmsOf(config);
  return [
    ...judgeVersions(providers),
    judgeEndpoints(providers, around),
    ...config.flatMap((entry) => judgeOrder(entry, around) ?? []),
    ...providers.map(judgeTimeout),
    ...judgeNames(config, around),
    ...config.flatMap((entry) => judgeIdentity(entry, around) ?? []),
    ...judgeResources(config),
  ];
}
