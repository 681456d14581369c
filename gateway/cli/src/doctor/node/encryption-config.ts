// An EncryptionConfiguration, read as kube-apiserver reads it (k8s.io/apiserver, apis/apiserver/validation). What in it
// does not do what its author wanted, encryption-judgement.ts says.
import { CheckError } from "@claviger/proto/runtime/check.ts";
import { checkConfig, ConfigError, isTree, parseYaml, z } from "@claviger/proto/runtime/config.ts";

/** What kube-apiserver does not know, it refuses: so do all of these. */
const kmsSchema = z
  .strictObject({
    apiVersion: z.optional(z.string()),
    name: z.string().check(z.minLength(1, { error: "must be a name" })),
    endpoint: z.string().check(z.minLength(1, { error: "must be a URL" })),
    timeout: z.optional(z.string({ error: "must be a duration in quotes or with a unit, e.g. 3s" })),
    cachesize: z.optional(z.int()),
  })
  .check(
    z.refine(({ apiVersion, cachesize }) => apiVersion !== "v2" || cachesize === undefined, {
      path: ["cachesize"],
      error: "is a setting of KMS v1 alone; leave it out",
    }),
  );
export type KmsProvider = z.infer<typeof kmsSchema>;

function secretOf(...lengths: readonly number[]) {
  const isGood = (text: string): boolean =>
    /^(?:[A-Za-z\d+/]{4})*(?:[A-Za-z\d+/]{2}==|[A-Za-z\d+/]{3}=)?$/.test(text) &&
    lengths.includes(Buffer.byteLength(text, "base64"));
  return z.string().check(z.refine(isGood, { error: `must be ${lengths.join(", ")} bytes in base64` }));
}

function keysOf(...lengths: readonly number[]) {
  const key = z.strictObject({
    name: z.string().check(z.minLength(1, { error: "must be a name" })),
    secret: secretOf(...lengths),
  });
  return z.optional(z.strictObject({ keys: z.array(key).check(z.minLength(1, { error: "must have a key" })) }));
}

const kinds = ["kms", "identity", "aescbc", "aesgcm", "secretbox"] as const;
type Kind = (typeof kinds)[number];

const providerSchema = z
  .strictObject({
    kms: z.optional(kmsSchema),
    identity: z.optional(z.strictObject({})),
    aescbc: keysOf(16, 24, 32),
    aesgcm: keysOf(16, 24, 32),
    secretbox: keysOf(32),
  })
  .check(
    z.refine((given) => Object.values(given).filter((one) => one !== undefined).length === 1, {
      error: `must be one of ${kinds.join(", ")}; each of them is an item of its own in the list`,
    }),
  );

const schema = z.strictObject({
  apiVersion: z.literal("apiserver.config.k8s.io/v1"),
  kind: z.literal("EncryptionConfiguration"),
  resources: z
    .array(
      z.strictObject({
        resources: z.array(z.string()).check(z.minLength(1, { error: "must name a resource" })),
        providers: z.array(providerSchema).check(z.minLength(1, { error: "must have a provider" })),
      }),
    )
    .check(z.minLength(1, { error: "must have an entry" })),
});

/** `kms` is there where that is the kind. */
export type Provider = { readonly kind: Kind; readonly kms?: KmsProvider | undefined };
export type Entry = { readonly resources: readonly string[]; readonly providers: readonly Provider[] };
export type EncryptionConfig = readonly Entry[];

/** @throws CheckError with every problem, ConfigError where it is no YAML */
export function readEncryptionConfig(file: string, text: string): EncryptionConfig {
  const tree = parseYaml(file, text);
  const cure = "correct it: kube-apiserver does not start with it, or goes on with the file of before";
  if (!isTree(tree) || tree["kind"] !== "EncryptionConfiguration")
    throw new CheckError(`${file} is no EncryptionConfiguration of apiserver.config.k8s.io/v1`, cure);
  try {
    return checkConfig(file, tree, schema).resources.map(({ resources, providers }) => ({
      resources,
      providers: providers.map((given) => ({
        kind: kinds.find((kind) => given[kind] !== undefined) ?? "identity",
        ...(given.kms !== undefined && { kms: given.kms }),
      })),
    }));
  } catch (error) {
    if (error instanceof ConfigError) throw new CheckError(`${file}: ${error.problems.join("; ")}`, cure);
    throw error;
  }
}
