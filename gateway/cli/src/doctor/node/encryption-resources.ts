// Which resources an EncryptionConfiguration encrypts: what kube-apiserver refuses, what is never used, and what
// makes a node need the plugin before it can have it.
import type { Judged } from "../row.ts";
import type { EncryptionConfig } from "./encryption-config.ts";

const duplicates = "node.encryption-config.duplicates";

/** What a kubelet, a scheduler and a DaemonSet need before a plugin in a pod can run. */
const needed = new Set(["pods", "serviceaccounts", "configmaps", "leases.coordination.k8s.io", "nodes"]);

function groupOf(resource: string): string {
  return resource.includes(".") ? resource.slice(resource.indexOf(".") + 1) : "";
}

/** Does a wildcard stand for a resource? */
export function covers(wildcard: string, resource: string): boolean {
  if (wildcard === "*.*") return resource !== "*.*";
  return wildcard.startsWith("*.") && resource !== wildcard && groupOf(resource) === wildcard.slice(2);
}

const unnamed = new Set(["apiserveripinfo", "serviceipallocations", "servicenodeportallocations"]);

/** What is wrong with one name. */
function badName(name: string): string | undefined {
  if (/[A-Z]/.test(name)) return `${name} has capital letters`;
  if (unnamed.has(name)) return `${name} is no resource of an API`;
  const group = groupOf(name);
  if (group === "events.k8s.io") return `${name} is stored as events`;
  if (group === "extensions") return `${name} is of a group that there is no more`;
  if (group === "*" && name !== "*.*") return `${name}: no group stands for all`;
  return undefined;
}

function refused(list: readonly string[]): readonly string[] {
  const twice = list.filter((name, at) => list.indexOf(name) !== at).map((name) => `${name} stands twice in one list`);
  const stars = list.filter((name) => name === "*").map(() => "'*' is none: '*.' is the core group, '*.*' is all");
  const mixed = list.flatMap((wildcard) =>
    list.filter((name) => covers(wildcard, name)).map((name) => `${wildcard} stands in one list with ${name}`),
  );
  return [...twice, ...stars, ...mixed, ...list.flatMap((name) => badName(name) ?? [])];
}

function judgeDuplicates(config: EncryptionConfig): readonly Judged[] {
  const lists = config.map(({ resources }) => resources);
  const findings: Judged[] = lists.flatMap(refused).map((problem) => ({
    id: duplicates,
    verdict: "failed",
    found: `${problem}: kube-apiserver does not start`,
    cure: "name each resource once, and wildcards in an entry of their own, last",
  }));
  for (const [at, list] of lists.entries())
    for (const name of list) {
      const earlier = lists.slice(0, at).flat();
      const mask = earlier.find((one) => covers(one, name));
      if (mask !== undefined)
        findings.push({
          id: duplicates,
          verdict: "failed",
          found: `${name} stands behind ${mask}, which means it already: kube-apiserver does not start`,
          cure: `put the entry of ${name} in front of that of ${mask}`,
        });
      else if (earlier.includes(name))
        findings.push({
          id: duplicates,
          verdict: "warning",
          found: `${name} stands in two entries: the first provider of the second one never writes`,
          cure: `put all providers of ${name} into one entry, in their order`,
        });
    }
  return findings.length > 0 ? findings : [{ id: duplicates, verdict: "ok", found: "each stands once" }];
}

function judgeWildcards(config: EncryptionConfig): Judged {
  const id = "node.encryption-config.wildcard";
  const names = config
    .filter(({ providers }) => providers.some(({ kind }) => kind === "kms"))
    .flatMap(({ resources }) => resources);
  const circular = names.filter((name) => name === "*.*" || name === "*." || needed.has(name));
  if (circular.length === 0)
    return { id, verdict: "ok", found: names.join(", ") || "nothing is encrypted by a plugin" };
  return {
    id,
    verdict: "warning",
    found: `${circular.join(", ")}: what nodes and pods need to come up is encrypted too, so that a shim in a DaemonSet never starts after all control planes were down`,
    cure: "name secrets alone, or run the shim as a systemd unit or static pod (docs/bootstrap.md)",
  };
}

/** Findings about the lists of resources. */
export function judgeResources(config: EncryptionConfig): readonly Judged[] {
  return [judgeWildcards(config), ...judgeDuplicates(config)];
}
