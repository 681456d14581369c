// What --check tries of the clusters' keys: some of them, both ways. Promotes nothing, makes nothing.
// (docs/architecture.md #keys.)
import { type Check, CheckError, type Finding, type Found } from "@claviger/proto/runtime/check.ts";
import type { CheckedBackend } from "@claviger/gateway-core/src/backend/check.ts";
import type { KeyRef, KeyState } from "@claviger/gateway-core/src/backend/port.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { refId } from "@claviger/gateway-core/src/key/key-id.ts";
import { adviceFor } from "@claviger/proto/wire/advice.ts";
import { runCanary } from "../keys/canary.ts";

/** Of a fleet's clusters so many are tried. */
export const sampleSize = 5;

type Sample = { readonly record: ClusterRecord; readonly ref: KeyRef };

/** The first clusters, no key twice. */
function sampleOf(records: readonly ClusterRecord[]): readonly Sample[] {
  const byKey = new Map<string, Sample>();
  for (const record of records)
    for (const ref of record.keys) {
      const id = refId(ref);
      if (byKey.size < sampleSize && !byKey.has(id)) byKey.set(id, { record, ref });
    }
  return [...byKey.values()];
}

/** Whether a gateway may do what it does on its own; a warning where it may not. */
async function promotion(
  { missingUpdates }: CheckedBackend,
  { record, ref }: Sample,
  { minEncryption, latest }: KeyState,
  signal: AbortSignal,
): Promise<{ readonly text: string; readonly more: readonly Finding[] }> {
  const isFirst = minEncryption === 0;
  const waits = minEncryption < latest ? `; version ${latest} is not promoted yet` : "";
  if (record.rotation === "manual" && !isFirst) return { text: waits, more: [] };
  const missing = await missingUpdates(ref, record.rotation === "auto" ? ["config", "rotate"] : ["config"], signal);
  if (missing === undefined) return { text: `${waits}; whether it may promote is not known`, more: [] };
  const [first] = missing;
  if (first === undefined) return { text: `${waits}; it may promote`, more: [] };
  const found = `the token may not write ${missing.join(" and ")}: no gateway promotes a version of this key`;
  const cure = isFirst
    ? `claviger key promote ${record.name}, or claviger vault init, which puts the policy right`
    : "claviger vault init puts the policy right; or set the cluster's rotation to manual";
  return { text: waits, more: [{ verdict: isFirst ? "failed" : "warning", found, cure }] };
}

async function tryKey(checked: CheckedBackend, sample: Sample, signal: AbortSignal): Promise<Found<true>> {
  const { ref } = sample;
  const state = await checked.backend.describe(ref, signal);
  const version = state.minEncryption === 0 ? state.latest : state.minEncryption;
  const failure = await runCanary(checked.backend, ref, version, signal, { mustRefuse: true });
  if (failure !== undefined) {
    const { operation, error } = failure;
    const { cause } = error;
    const why = cause instanceof Error ? `${cause.message} (${error.reason})` : error.reason;
    throw new CheckError(`${operation} under version ${version}: ${why}`, adviceFor(error.reason));
  }
  const { text, more } = await promotion(checked, sample, state, signal);
  return { found: `${ref.mount}/${ref.key} version ${version} encrypts and decrypts${text}`, value: true, more };
}

/**
 * Adds a row for each key of a sample.
 * @param backends those that can be asked; keys of others, by name, have no row
 * @param silent those that could not be asked
 */
export async function checkKeys(
  check: Check,
  records: readonly ClusterRecord[],
  backends: ReadonlyMap<string, CheckedBackend>,
  silent: ReadonlySet<string>,
): Promise<void> {
  const of = (names: { has(name: string): boolean }): readonly ClusterRecord[] =>
    records.filter(({ keys }) => keys.some(({ backend }) => names.has(backend)));
  const sample = sampleOf(of(backends));
  await Promise.all(
    sample.map(async (one) => {
      const checked = backends.get(one.ref.backend);
      if (checked !== undefined)
        await check.step(`key of ${one.record.name}`, (signal) => tryKey(checked, one, signal));
    }),
  );
  const others = of(silent).length;
  if (others > 0)
    check.add("keys", { verdict: "not tried", found: `keys of ${others} clusters: their backend has no token` });
}
