// The keys of clusters as this service reaches them: it rotates, promotes and retires, and can neither encrypt
// nor decrypt. (docs/architecture.md #control-plane.)
import type { BackendConfig } from "@claviger/gateway-core/src/backend/config.ts";
import type { KeyRef, OpenBackend } from "@claviger/gateway-core/src/backend/port.ts";
import { refId } from "@claviger/gateway-core/src/key/key-id.ts";
import { publishKeyNews } from "@claviger/gateway-core/src/redis/channels.ts";
import { type KeyReport, readKeyReport } from "@claviger/gateway-core/src/redis/key-reports.ts";
import { type Observation, readObservations } from "@claviger/gateway-core/src/redis/observations.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { refuse } from "../refusal.ts";
import type { KeyFactReader, SharedState } from "./facts.ts";

/** What a key is changed and looked at with. */
export type KeyBackend = Pick<OpenBackend, "describe" | "promote" | "rotate" | "setMinDecryption">;

/** Observations by the clusters' names, or why they are not known. */
export type Observed =
  | { readonly kind: "known"; readonly entries: ReadonlyMap<string, readonly Observation[]> }
  | { readonly kind: "unknown"; readonly why: string };

export type KeyAccess = {
  /** Every backend of fleet.yaml. */
  readonly backends: Readonly<Record<string, BackendConfig>>;
  /** @throws Refusal failed_precondition where fleet.yaml has no such backend */
  backendOf(ref: KeyRef): KeyBackend;
  /** Tells the gateways that a key has changed, where there is a Redis. Never rejects. */
  announce(ref: KeyRef): Promise<void>;
  /** Which key_ids the nodes of some clusters show, and decrypt under. Never rejects. */
  observe(records: readonly ClusterRecord[]): Promise<Observed>;
  /** What gateways have read of the keys lately, by the clusters' uids; what is not known is absent. Never rejects. */
  reported(records: readonly ClusterRecord[]): Promise<ReadonlyMap<string, KeyReport>>;
  /** How old the version that encrypts may be without a warning, milliseconds. */
  readonly maxAgeMs: number | undefined;
  /** What is known beside that. */
  readonly facts: KeyFactReader;
};

export function createKeyAccess({
  backends,
  opened,
  shared,
  maxAgeMs,
  facts,
}: {
  readonly backends: Readonly<Record<string, BackendConfig>>;
  readonly opened: ReadonlyMap<string, KeyBackend>;
  /** Undefined where fleet.yaml names no Redis. */
  readonly shared: SharedState | undefined;
  readonly maxAgeMs: number | undefined;
  readonly facts: KeyFactReader;
}): KeyAccess {
  return {
    backends,
    maxAgeMs,
    facts,
    backendOf({ backend }) {
      const found = opened.get(backend);
      if (found === undefined)
        throw refuse(
          "failed_precondition",
          `the fleet service has no backend ${backend}: add it to 'backends' in fleet.yaml, or use your own Vault token (--direct)`,
        );
      return found;
    },
    async announce(ref) {
      // They read it by themselves, a little later.
      if (shared !== undefined) await publishKeyNews(shared.redis, refId(ref)).catch(() => {});
    },
    async reported(records) {
      const secret = shared?.secret();
      if (shared === undefined || secret === undefined) return new Map();
      const found = await Promise.all(
        records.map(async ({ uid, keys: [ref] }) => {
          const report = ref && (await readKeyReport(shared.redis, secret, refId(ref)).catch(() => undefined));
          return report === undefined ? [] : [[uid, report] as const];
        }),
      );
      return new Map(found.flat());
    },
    async observe(records) {
      if (shared === undefined) return { kind: "unknown", why: "fleet.yaml names no Redis" };
      const secret = shared.secret();
      if (secret === undefined) return { kind: "unknown", why: "the integrity key is not known yet" };
      const read = async ({ name, uid }: ClusterRecord) =>
        [name, await readObservations(shared.redis, secret, uid)] as const;
      try {
        return { kind: "known", entries: new Map(await Promise.all(records.map(read))) };
      } catch {
        return { kind: "unknown", why: `Redis does not answer (${shared.redis.health()})` };
      }
    },
  };
}
