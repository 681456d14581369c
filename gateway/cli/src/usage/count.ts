// How many objects in etcd depend on which version of which key. Nothing is skipped: what Claviger
// did not encrypt is counted, too. (docs/architecture.md #rotation.)
import type { ClusterUid } from "@claviger/proto/wire/names.ts";
import { decodeEnvelope } from "@claviger/gateway-core/src/key/envelope.ts";
import type { Entry } from "./etcd.ts";
import { readStored } from "./etcd-value.ts";

/** Objects whose DEK is wrapped under one version of one key. */
export type Use = {
  readonly clusterUid: ClusterUid;
  readonly backend: string;
  /** `mount/name`, see keyPath. */
  readonly key: string;
  readonly version: number;
  readonly keyId: string;
  count: number;
  /** One of them, to look for. */
  readonly example: string;
};

export type Usage = {
  readonly uses: readonly Use[];
  readonly plain: number;
  /** By name: other transformers, other KMS plugins. */
  readonly others: ReadonlyMap<string, number>;
  /** The keys of values that begin like one of KMS and cannot be parsed. */
  readonly damaged: readonly string[];
};

const mark = Buffer.from("clv1");

/** Reads entries to the end and counts. */
export async function countUsage(entries: AsyncIterable<Entry>): Promise<Usage> {
  const uses = new Map<string, Use>();
  const others = new Map<string, number>();
  const damaged: string[] = [];
  let plain = 0;
  const other = (name: string): void => void others.set(name, (others.get(name) ?? 0) + 1);

  const countEnvelope = (example: string, ciphertext: Uint8Array, keyId: string | undefined): void => {
    const envelope = decodeEnvelope(ciphertext);
    if (keyId !== undefined && keyId !== envelope.keyId) throw new Error("not the envelope's key_id");
    for (const { backend, key, version } of envelope.wraps) {
      const { clusterUid, keyId: own } = envelope;
      const id = JSON.stringify([clusterUid, backend, key, version, own]);
      const use = uses.get(id) ?? { clusterUid, backend, key, version, keyId: own, count: 0, example };
      use.count += 1;
      uses.set(id, use);
    }
  };

  for await (const { key, value } of entries) {
    const stored = readStored(value);
    switch (stored.kind) {
      case "plain":
        plain += 1;
        break;
      case "other":
        other(stored.transformer);
        break;
      case "damaged":
        damaged.push(key);
        break;
      case "kms":
        if (!mark.equals(stored.ciphertext.subarray(0, mark.length))) {
          other(`KMS plugin ${stored.provider}, not Claviger`);
          break;
        }
        try {
          countEnvelope(key, stored.ciphertext, stored.keyId);
        } catch {
          damaged.push(key);
        }
        break;
    }
  }
  return { uses: [...uses.values()].toSorted((a, b) => a.version - b.version), plain, others, damaged };
}
