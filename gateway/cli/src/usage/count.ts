// How many objects in etcd depend on which version of which key. Nothing is skipped: what Claviger
// did not encrypt is counted, too. (docs/architecture.md #rotation.)
import { decodeEnvelope } from "@claviger/gateway-core/src/key/envelope.ts";
import type { Entry } from "./etcd.ts";
import type { CountedUse, ForeignUse as CountedForeignUse } from "@claviger/gateway-core/src/retirement/usage.ts";
import { readStored } from "./etcd-value.ts";
import { transitVersion } from "./foreign.ts";

/** Some objects: how many, and the first of their etcd keys. */
export type Objects = { count: number; readonly examples: string[] };

/** Objects whose DEK is wrapped under one version of one key. */
export type Use = Objects &
  CountedUse & {
    /** The wrapped DEK of the first of them, to try. */
    readonly wrapped: Uint8Array;
  };

/** Objects of another KMS plugin. */
export type ForeignUse = Objects & CountedForeignUse;

export type Usage = {
  readonly uses: readonly Use[];
  readonly foreign: readonly ForeignUse[];
  /** Secrets that lie in the clear. */
  readonly plainSecrets: Objects;
  /** Everything else in the clear: most kinds always do. */
  readonly plain: number;
  /** By name: transformers other than KMS. */
  readonly others: ReadonlyMap<string, number>;
  /** The keys of values that begin like one of KMS and cannot be parsed. */
  readonly damaged: readonly string[];
};

const mark = Buffer.from("clv1");
/** Of an apiserver without an --etcd-prefix of its own. */
export const defaultPrefixes = ["/registry/"] as const;
const maxExamples = 20;

function add(objects: Objects, example: string): void {
  objects.count += 1;
  if (objects.examples.length < maxExamples) objects.examples.push(example);
}

/** A counter for each id, made when it is first needed. */
function createGroups<T extends Objects>(): {
  readonly add: (id: readonly unknown[], make: () => T, example: string) => void;
  readonly all: () => T[];
} {
  const groups = new Map<string, T>();
  return {
    add(parts, make, example) {
      const id = JSON.stringify(parts);
      const group = groups.get(id) ?? make();
      groups.set(id, group);
      add(group, example);
    },
    all: () => [...groups.values()],
  };
}

/** Kubernetes stores a Secret at PREFIX/secrets/NAMESPACE/NAME; a custom resource's group stands between. */
function isSecret(key: string, prefixes: readonly string[]): boolean {
  return prefixes.some(
    (prefix) => key.startsWith(prefix) && (key.startsWith("secrets/", prefix.length) || prefix.includes("/secrets/")),
  );
}

/** Reads entries to the end and counts. @param prefixes what their keys begin with */
export async function countUsage(
  entries: AsyncIterable<Entry>,
  prefixes: readonly string[] = defaultPrefixes,
): Promise<Usage> {
  const uses = createGroups<Use>();
  const foreign = createGroups<ForeignUse>();
  const others = new Map<string, number>();
  const damaged: string[] = [];
  const plainSecrets: Objects = { count: 0, examples: [] };
  let plain = 0;

  const countEnvelope = (example: string, bytes: Uint8Array, keyId: string | undefined): void => {
    const { clusterUid, keyId: own, wraps } = decodeEnvelope(bytes);
    if (keyId !== undefined && keyId !== own) throw new Error("not the envelope's key_id");
    for (const { backend, key, version, ciphertext } of wraps)
      uses.add(
        [clusterUid, backend, key, version, own],
        () => ({
          clusterUid,
          backend,
          key,
          version,
          keyId: own,
          wrapped: Uint8Array.from(ciphertext),
          count: 0,
          examples: [],
        }),
        example,
      );
  };

  for await (const { key, value } of entries) {
    const stored = readStored(value);
    switch (stored.kind) {
      case "plain":
        if (isSecret(key, prefixes)) add(plainSecrets, key);
        else plain += 1;
        break;
      case "other":
        others.set(stored.transformer, (others.get(stored.transformer) ?? 0) + 1);
        break;
      case "damaged":
        damaged.push(key);
        break;
      case "kms": {
        const { provider, ciphertext, keyId } = stored;
        if (!mark.equals(ciphertext.subarray(0, mark.length))) {
          const version = transitVersion(ciphertext);
          foreign.add([provider, version], () => ({ provider, version, count: 0, examples: [] }), key);
          break;
        }
        try {
          countEnvelope(key, ciphertext, keyId);
        } catch {
          damaged.push(key);
        }
        break;
      }
    }
  }
  return {
    uses: uses.all().toSorted((a, b) => a.version - b.version),
    foreign: foreign.all().toSorted((a, b) => (a.version ?? 0) - (b.version ?? 0)),
    plainSecrets,
    plain,
    others,
    damaged,
  };
}
