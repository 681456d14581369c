// Does what is in etcd decrypt today? One object of each version is tried with the operator's own
// token; its DEK is zeroized unseen. (docs/architecture.md #envelope and #rotation.)
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { backendName, keyName, mountPath } from "@claviger/proto/wire/names.ts";
import { zeroize } from "@claviger/proto/runtime/secret.ts";
import type { KeyRef, OpenBackend } from "@claviger/gateway-core/src/backend/port.ts";
import { associatedData, keyPath } from "@claviger/gateway-core/src/key/key-id.ts";
import { describeError } from "@claviger/proto/runtime/log.ts";
import { isInWords } from "../commander.ts";
import type { Fleet } from "../fleet.ts";
import { isSameIncarnation } from "@claviger/gateway-core/src/retirement/usage.ts";
import type { Use } from "./count.ts";

export type Opening =
  | { readonly kind: "opens" }
  /** Below the key's min_decryption_version: `unretire` brings it back. */
  | { readonly kind: "retired" }
  /** The key was deleted and made anew, or restored, since: this version of it is another one. */
  | { readonly kind: "lost" }
  /** It is the version that the key_id names, and it does not open. */
  | { readonly kind: "refused" }
  | { readonly kind: "unknown"; readonly why: string };

const callMs = 10_000;

/** The key that a wrap names; undefined when no backend could have it. */
function refOf({ backend, key: path }: Use, known: readonly KeyRef[]): KeyRef | undefined {
  const found = known.find((ref) => ref.backend === backend && keyPath(ref) === path);
  if (found !== undefined) return found;
  const at = path.lastIndexOf("/");
  // A namespace may stand in front of the mount: Vault takes it there, too.
  const [mount, key] = [path.slice(0, Math.max(at, 0)), path.slice(at + 1)];
  return backendName.is(backend) && mountPath.is(mount) && keyName.is(key) ? { backend, mount, key } : undefined;
}

function causeOf(error: unknown): string {
  return isInWords(error) ? error.message : describeError(error);
}

async function tryOne(
  backend: OpenBackend,
  ref: KeyRef,
  use: Use,
  explain: (error: unknown) => unknown,
): Promise<Opening> {
  const state = await backend.describe(ref, AbortSignal.timeout(callMs));
  const isSame = isSameIncarnation(use, ref, state);
  if (isSame === undefined) return { kind: "retired" };
  const data = associatedData(use.clusterUid, use.keyId, ref.backend);
  const item = { ciphertext: use.wrapped, associatedData: data, version: use.version };
  const [outcome] = await backend.unwrap(ref, [item], AbortSignal.timeout(callMs));
  if (outcome?.ok === true) {
    zeroize(outcome.value.plaintext);
    return { kind: "opens" };
  }
  const reason = outcome?.error.reason;
  return reason === "ciphertext_invalid" || reason === "key_missing"
    ? { kind: isSame ? "refused" : "lost" }
    : { kind: "unknown", why: causeOf(explain(outcome?.error)) };
}

/**
 * Tries one object of each use. Never rejects: what could not be tried says why.
 * @param known the keys of the registry
 */
export async function tryUses(
  uses: readonly Use[],
  known: readonly KeyRef[],
  fleet: Pick<Fleet, "withBackend">,
): Promise<ReadonlyMap<Use, Opening>> {
  const found = new Map<Use, Opening>();
  for (const [name, group] of Map.groupBy(uses, ({ backend }) => backend))
    try {
      await fleet.withBackend(name, async (backend, explain) => {
        for (const use of group) {
          const ref = refOf(use, known);
          const opening =
            ref === undefined
              ? ({ kind: "unknown", why: "no backend can have a key of this name" } as const)
              : await tryOne(backend, ref, use, explain).catch(
                  (error: unknown): Opening =>
                    error instanceof KmsError && error.reason === "key_missing"
                      ? { kind: "lost" }
                      : { kind: "unknown", why: causeOf(explain(error)) },
                );
          found.set(use, opening);
        }
      });
    } catch (error) {
      for (const use of group) if (!found.has(use)) found.set(use, { kind: "unknown", why: causeOf(error) });
    }
  return found;
}
