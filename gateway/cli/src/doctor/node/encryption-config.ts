// An EncryptionConfiguration, read as kube-apiserver reads it (k8s.io/apiserver, apis/apiserver/validation). What in it
// does not do what its author wanted, encryption-judgement.ts says.
import { CheckError } from "@claviger/proto/runtime/check.ts";
import { parseYaml, z } from "@claviger/proto/runtime/config.ts";

const kmsSchema = z.looseObject({
  apiVersion: z.optional(z.string()),
  name: z.string(),
  endpoint: z.string(),
  timeout: z.optional(z.string()),
});
export type KmsProvider = z.infer<typeof kmsSchema>;

const kinds = ["kms", "identity", "aescbc", "aesgcm", "secretbox"] as const;
type Kind = (typeof kinds)[number];

const schema = z.looseObject({
  apiVersion: z.literal("apiserver.config.k8s.io/v1"),
  kind: z.literal("EncryptionConfiguration"),
  resources: z
    .array(
      z.looseObject({
        resources: z.array(z.string()).check(z.minLength(1)),
        providers: z.array(z.record(z.string(), z.unknown())).check(z.minLength(1)),
      }),
    )
    .check(z.minLength(1)),
});

/** `kms` is there where that is the kind. */
export type Provider = { readonly kind: Kind; readonly kms?: KmsProvider };
export type Entry = { readonly resources: readonly string[]; readonly providers: readonly Provider[] };
export type EncryptionConfig = readonly Entry[];

function providerOf(file: string, given: Readonly<Record<string, unknown>>): Provider {
  const [kind, ...others] = kinds.filter((one) => Object.hasOwn(given, one));
  if (kind === undefined || others.length > 0)
    throw new CheckError(`${file}: a provider is one of ${kinds.join(", ")}`, "kube-apiserver does not start with it");
  if (kind !== "kms") return { kind };
  const kms = kmsSchema.safeParse(given["kms"]);
  if (!kms.success)
    throw new CheckError(`${file}: a kms provider has no name or no endpoint`, "kube-apiserver does not start with it");
  return { kind, kms: kms.data };
}

/** @throws CheckError, ConfigError */
export function readEncryptionConfig(file: string, text: string): EncryptionConfig {
  const parsed = schema.safeParse(parseYaml(file, text));
  if (!parsed.success)
    throw new CheckError(
      `${file} is no EncryptionConfiguration of apiserver.config.k8s.io/v1`,
      "correct apiVersion, kind and resources: kube-apiserver does not start with it",
    );
  return parsed.data.resources.map(({ resources, providers }) => ({
    resources,
    providers: providers.map((one) => providerOf(file, one)),
  }));
}
