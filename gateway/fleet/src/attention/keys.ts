// What is wrong with the keys of clusters.
import { refId } from "@claviger/gateway-core/src/key/key-id.ts";
import type { GatewayReport, KeyFailure } from "@claviger/gateway-core/src/redis/gateway-reports.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import type { OldKey } from "../keys/ages.ts";
import { type AttentionItem, item } from "./item.ts";

const dayMs = 86_400_000;
/** Gateways that a cause names. */
const mostNamed = 3;

const causes = {
  encrypt: "does not encrypt: writes fail",
  decrypt: "does not decrypt what it has encrypted: that cannot be read",
  promote: "was to encrypt, and could not be made to; the one before it goes on",
} as const satisfies Record<KeyFailure["what"], string>;

function failingItem(cluster: string, { version, what }: Omit<KeyFailure, "key">, names: readonly string[]) {
  const more = names.length > mostNamed ? ` and ${names.length - mostNamed} more` : "";
  return item(what === "promote" ? "key_not_promoted" : "key_broken", {
    target: cluster,
    cause: `version ${version} of its key ${causes[what]}, say ${names.slice(0, mostNamed).join(", ")}${more}`,
    command: `claviger key status ${cluster}`,
  });
}

/** An item for each version of a cluster's keys that gateways could not use. */
export function failingKeyItems(
  records: readonly ClusterRecord[],
  gateways: readonly GatewayReport[],
): readonly AttentionItem[] {
  const byKey = new Map<string, Map<string, KeyFailure & { readonly names: string[] }>>();
  for (const { name, keyFailures = [] } of gateways)
    for (const failure of keyFailures) {
      const ofKey = byKey.get(failure.key) ?? new Map<string, KeyFailure & { readonly names: string[] }>();
      byKey.set(failure.key, ofKey);
      const id = `${failure.what} ${failure.version}`;
      const known = ofKey.get(id);
      if (known === undefined) ofKey.set(id, { ...failure, names: [name] });
      else known.names.push(name);
    }
  if (byKey.size === 0) return [];
  return records.flatMap((record) =>
    [...record.keys, ...record.previousKeys].flatMap((ref) =>
      [...(byKey.get(refId(ref))?.values() ?? [])].map((failure) => failingItem(record.name, failure, failure.names)),
    ),
  );
}

/** @param now Unix milliseconds */
export function oldKeyItem({ record, version, since, maxAgeMs }: OldKey, now: number): AttentionItem {
  const days = (ms: number): number => Math.floor(ms / dayMs);
  return item("key_old", {
    target: record.name,
    cause: `version ${version} of its key encrypts and is ${days(now - since)} days old; the policy allows ${days(maxAgeMs)}`,
    since: since + maxAgeMs,
    command: `claviger key rotate ${record.name} --reason 'it is too old'`,
  });
}
