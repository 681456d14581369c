// The EncryptionConfiguration of each phase of a roll-out. The order of its providers is the point: the first one
// writes, all of them read. (docs/bootstrap.md#roll-out)
import { readEncryptionConfig } from "../doctor/node/encryption-config.ts";
import { covers } from "../doctor/node/encryption-resources.ts";
import { yamlText } from "@claviger/gateway-core/src/registry/edit/yaml.ts";
import { isTree, parseYaml } from "@claviger/proto/runtime/config.ts";
import { CliError } from "../commander.ts";
import type { OutFile, Plan } from "./plan.ts";

/** Part of every stored value, and for life. */
const providerName = "claviger";

/** Each phase: its file, what is true in it, and what comes next. */
const phases = [
  {
    name: "encryption-1-read.yaml",
    about: "Phase 1, on every kube-apiserver: writes as before, and can read what the shim will have encrypted.",
    next: "Next: phase 2, once every kube-apiserver has this one.",
  },
  {
    name: "encryption-2-write.yaml",
    about: "Phase 2, on every kube-apiserver: writes through the shim, and reads what was there before.",
    next: "Next: rewrite what is stored (docs/operations.md); 'claviger key usage' counts what is left.",
  },
  {
    name: "encryption-3-migrated.yaml",
    about: "Phase 3: everything is stored through the shim, and nothing else can be read.",
    next: "Only after storage was migrated. Back: phase 2, then phase 1, then rewrite what is stored.",
  },
] as const;

function kms({ socket }: Plan): object {
  // Without apiVersion it would be v1.
  return { kms: { apiVersion: "v2", name: providerName, endpoint: `unix://${socket}`, timeout: "3s" } };
}

const identity = { identity: {} };

function isIdentity(provider: object): boolean {
  return "identity" in provider;
}

/** What Secrets are read by, in the three phases. */
function providersOf(plan: Plan): readonly (readonly object[])[] {
  const before = plan.existing.length === 0 ? [identity] : plan.existing;
  const [first = identity, ...rest] = before;
  const all = before.some(isIdentity) ? before : [...before, identity];
  return [[first, kms(plan), ...rest], [kms(plan), ...all], [kms(plan)]];
}

/** The files of the three phases. @param place where kube-apiserver reads it */
export function encryptionFiles(plan: Plan, place: string): readonly OutFile[] {
  return providersOf(plan).map((providers, i) => {
    const phase = phases[i as 0 | 1 | 2];
    const document = {
      apiVersion: "apiserver.config.k8s.io/v1",
      kind: "EncryptionConfiguration",
      resources: [{ resources: ["secrets"], providers }, ...plan.others],
    };
    const text = `# ${phase.about}\n# ${phase.next}\n${yamlText(document)}\n`;
    return { name: phase.name, text, place, isSecret: true };
  });
}

/**
 * The entries of an EncryptionConfiguration in use: the providers of Secrets, and what stands there for others.
 * @throws CliError, CheckError, ConfigError
 */
export function existingProviders(file: string, text: string): Pick<Plan, "existing" | "others"> {
  const config = readEncryptionConfig(file, text);
  const tree = parseYaml(file, text);
  const entries = isTree(tree) && Array.isArray(tree["resources"]) ? (tree["resources"] as readonly object[]) : [];
  const at = config.findIndex(({ resources }) => resources.includes("secrets"));
  const entry = config[at];
  const names = config.flatMap(({ providers }) => providers.flatMap(({ kms: one }) => one?.name ?? []));
  if (names.includes(providerName))
    throw new CliError(
      `--existing ${file} has a provider called ${providerName} already, and no two may have one name: give the file of before Claviger, or write the files by hand`,
    );
  const wildcard = config.flatMap(({ resources }) => resources).find((name) => covers(name, "secrets"));
  if (entry === undefined && wildcard !== undefined)
    throw new CliError(
      `--existing ${file} has secrets under ${wildcard} alone: give secrets an entry of their own in front of it first, with the same providers`,
    );
  if (entry === undefined)
    throw new CliError(`--existing ${file} says nothing of secrets; leave the option out, or write the files by hand`);
  if (entry.resources.length > 1)
    throw new CliError(
      `--existing ${file} has ${entry.resources.join(", ")} in one entry: give secrets an entry of their own first`,
    );
  const { providers } = entries[at] as { readonly providers: readonly object[] };
  return { existing: providers, others: entries.filter((_, i) => i !== at) };
}
