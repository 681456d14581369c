// What /readyz says: each dependency by name, as the last real calls found it. Backends are asked at an
// interval as well, never by a probe.
// (docs/architecture.md #shim; docs/kms-contract.md section 3.2.)
import { toKmsError } from "@claviger/proto/wire/errors.ts";
import type { AuditLog } from "@claviger/gateway-core/src/audit/log.ts";
import type { CertificateState } from "@claviger/proto/runtime/expiry.ts";
import type { WatchedBackend } from "../backend/outcomes.ts";
import type { RegistryStore } from "@claviger/gateway-core/src/registry/port.ts";

export type Readiness = {
  readonly ready: boolean;
  /** Of the registry in force (RegistryStore): whoever edits it sees whether this gateway has the edit. */
  readonly registryVersion?: string;
  readonly checks: Readonly<Record<string, string>>;
};

export interface Health {
  readonly readiness: () => Readiness;
  /** From now on not ready. */
  drain(): void;
  close(): void;
}

const everyMs = 5000;

/** What a check says of a backend in the first moments. */
export const notAskedYet = "not asked yet";

/**
 * Ready means: this replica answers better than none. A backend that is away does not change that,
 * since every replica would then leave at once and shims would lose the key_id and the time since
 * when it is stale; it is named all the same.
 */
export function createHealth({
  registry,
  audit,
  backends,
  redis,
  tracing,
  certificates,
}: {
  readonly registry: RegistryStore;
  readonly audit: AuditLog;
  readonly backends: Iterable<WatchedBackend>;
  /** `ok`, or what is wrong; undefined where there is none. */
  readonly redis: (() => string) | undefined;
  /** As `redis`. */
  readonly tracing?: (() => string) | undefined;
  readonly certificates: () => readonly CertificateState[];
}): Health {
  const seen = new Map<string, string>();
  let isDraining = false;
  let timer: NodeJS.Timeout | undefined;
  const ask = async (backend: WatchedBackend): Promise<void> => {
    try {
      await backend.health(AbortSignal.timeout(2000));
      seen.set(backend.name, "ok");
    } catch (error) {
      seen.set(backend.name, toKmsError(error).reason);
    }
  };
  const all = [...backends];
  const round = async (): Promise<void> => {
    await Promise.all(all.map(ask));
    timer = setTimeout(() => void round(), everyMs).unref();
  };
  void round();
  return {
    readiness() {
      const checks = {
        process: isDraining ? "draining" : "ok",
        registry:
          registry.problem() === undefined
            ? "ok"
            : "the newest one is not usable in part, or cannot be read; in its place the last good state is in force",
        ...(redis !== undefined && { redis: redis() }),
        ...(tracing !== undefined && { tracing: tracing() }),
        audit: audit.isHealthy() ? "ok" : "no sink takes records",
        ...Object.fromEntries(
          audit
            .sinks()
            .map(({ name, problem, since }) => [
              `audit/${name}`,
              problem === undefined ? "ok" : `${problem} (since ${new Date(since ?? 0).toISOString()})`,
            ]),
        ),
        ...Object.fromEntries(certificates().map(({ role, text }) => [`certificate/${role}`, text])),
        ...Object.fromEntries(
          all.map(({ name, problem }) => [`backend/${name}`, problem() ?? seen.get(name) ?? notAskedYet]),
        ),
      };
      const version = registry.version();
      return {
        ready: !isDraining && audit.isHealthy(),
        ...(version !== undefined && { registryVersion: version }),
        checks,
      };
    },
    drain() {
      isDraining = true;
    },
    close() {
      clearTimeout(timer);
    },
  };
}
