// What --check says of a gateway's cell: whether the registry has clusters that it serves.
// (docs/architecture.md #cells.)
import type { Documents } from "@claviger/gateway-core/src/backend/port.ts";
import { clustersAt } from "@claviger/gateway-core/src/registry/documents.ts";
import { createServes, type LabelSelector, selectorText } from "@claviger/gateway-core/src/registry/labels.ts";
import type { RegistryStore } from "@claviger/gateway-core/src/registry/port.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { documentOf, lastEdited, type VaultRegistryConfig } from "@claviger/gateway-core/src/registry/vault.ts";
import type { Check } from "@claviger/proto/runtime/check.ts";
import { clusterName } from "@claviger/proto/wire/names.ts";
import { sampleSize } from "./keys.ts";

/** Of a registry in Vault so many records are read at most until one is found that is served. */
const maxRead = 2000;
const parallel = 32;

/** Has a registry in Vault read some records, those edited last first: a sample of what is served, if it can be found. */
export async function loadSample(
  store: RegistryStore,
  {
    documents,
    config,
    serves: selector,
    signal,
  }: {
    readonly documents: Documents;
    readonly config: VaultRegistryConfig;
    readonly serves: LabelSelector | undefined;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const last = await lastEdited(documents, config, signal);
  for (const name of last.slice(0, sampleSize)) await store.load(name);
  const serves = createServes(selector);
  if (selector === undefined || store.known().some(serves)) return;
  const listed = await documents.listDocuments(clustersAt(documentOf(config)), signal);
  const names = listed.filter((name) => clusterName.is(name)).slice(0, maxRead);
  for (let i = 0; i < names.length && !store.known().some(serves); i += parallel)
    await Promise.all(names.slice(i, i + parallel).map(async (name) => await store.load(name)));
}

/** Adds a row where the gateway serves some clusters only. @returns those of the records that it serves */
export function checkServes(
  check: Check,
  selector: LabelSelector | undefined,
  records: readonly ClusterRecord[],
): readonly ClusterRecord[] {
  if (selector === undefined) return records;
  const served = records.filter(createServes(selector));
  const text = selectorText(selector);
  if (served.length > 0)
    check.add("serves", { verdict: "ok", found: `${served.length} of the ${records.length} clusters read: ${text}` });
  else
    check.add("serves", {
      verdict: "warning",
      found: `none of the ${records.length} clusters read has such labels: ${text}`,
      cure: "claviger cluster label CLUSTER KEY=VALUE, or change serves; claviger cluster list --show-labels has the labels",
    });
  return served;
}
