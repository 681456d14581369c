// A backend in memory that behaves like Transit, with hooks to pause and to break it. For unit
// tests of what stands above the port.
import { createHmac, randomBytes } from "node:crypto";
import type { KeyRef, KeyState, OpenBackend, Outcome } from "@claviger/gateway-core/src/backend/port.ts";
import { KmsError, type Reason } from "@claviger/proto/wire/errors.ts";
import { backendName, clusterName, clusterUid, keyName, mountPath } from "@claviger/proto/wire/names.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { abortReason } from "@claviger/proto/runtime/abort.ts";
import { type Log } from "@claviger/proto/runtime/log.ts";
import { pino } from "pino";

export const silent: Log = pino({ level: "silent" });

export const ref: KeyRef = {
  backend: backendName.parse("main"),
  mount: mountPath.parse("transit"),
  key: keyName.parse("prod"),
};

export function cluster(change: Partial<ClusterRecord> = {}): ClusterRecord {
  return {
    name: clusterName.parse("prod"),
    uid: clusterUid.parse("01JD9Z6X3QK8V5T7W2M4N6P8RA"),
    generation: 0,
    state: "active",
    rotation: "auto",
    keys: [ref],
    previousKeys: [],
    limits: { requestsPerSecond: 1000 },
    ...change,
  };
}

export type FakeBackend = OpenBackend & {
  state: KeyState;
  /** What a replica that lags behind says of the key; the active one says `state`. */
  behind: KeyState | undefined;
  /** The active one cannot be reached. */
  isCutOff: boolean;
  /** Calls so far, by operation. */
  readonly calls: Record<"wrap" | "unwrap" | "describe" | "promote" | "rotate", number>;
  /** Runs before an operation; may wait or throw. */
  before: (operation: keyof FakeBackend["calls"]) => Promise<void> | void;
  /** Adds a version, as Transit's rotate does. */
  addVersion(createdAt: number): number;
};

export function failWith(reason: Reason, ...operations: readonly string[]) {
  return (operation: string): void => {
    if (operations.length === 0 || operations.includes(operation)) throw new KmsError(reason);
  };
}

export function createFakeBackend(): FakeBackend {
  const secret = randomBytes(32);
  const tag = (version: number, data: Uint8Array, plaintext: Uint8Array): Buffer =>
    createHmac("sha256", secret)
      .update(`${version}:${Buffer.from(data).toString("hex")}:`)
      .update(plaintext)
      .digest();
  const attempt = <T>(run: () => T): Outcome<T> => {
    try {
      return { ok: true, value: run() };
    } catch (error) {
      return { ok: false, error: error as KmsError };
    }
  };
  const fake: FakeBackend = {
    name: ref.backend,
    state: { versions: new Map([[1, 1000]]), latest: 1, minEncryption: 0, minDecryption: 1 },
    behind: undefined,
    isCutOff: false,
    calls: { wrap: 0, unwrap: 0, describe: 0, promote: 0, rotate: 0 },
    before: () => {},
    addVersion(createdAt) {
      const latest = fake.state.latest + 1;
      fake.state = { ...fake.state, latest, versions: new Map([...fake.state.versions, [latest, createdAt]]) };
      return latest;
    },
    async wrap(_key, items, signal) {
      if (signal.aborted) throw abortReason(signal);
      fake.calls.wrap += 1;
      await fake.before("wrap");
      return items.map(({ plaintext, associatedData, version }) =>
        attempt(() => {
          if (version < fake.state.minEncryption || !fake.state.versions.has(version))
            throw new KmsError("request_malformed");
          const ciphertext = Buffer.concat([tag(version, associatedData, plaintext), plaintext]);
          return { ciphertext, version, requestId: "fake" };
        }),
      );
    },
    async unwrap(_key, items, signal) {
      if (signal.aborted) throw abortReason(signal);
      fake.calls.unwrap += 1;
      await fake.before("unwrap");
      return items.map(({ ciphertext, associatedData, version }) =>
        attempt(() => {
          const plaintext = Buffer.from(ciphertext.subarray(32));
          if (!tag(version, associatedData, plaintext).equals(ciphertext.subarray(0, 32)))
            throw new KmsError("ciphertext_invalid");
          return { plaintext, requestId: "fake" };
        }),
      );
    },
    async describe(_key, _signal, { fromActive = false } = {}) {
      fake.calls.describe += 1;
      if (fromActive && fake.isCutOff) throw new KmsError("backend_unavailable");
      const state = fromActive ? fake.state : (fake.behind ?? fake.state);
      await fake.before("describe");
      return state;
    },
    async promote(_key, version) {
      fake.calls.promote += 1;
      await fake.before("promote");
      fake.state = { ...fake.state, minEncryption: version };
    },
    setMinDecryption(_, version) {
      fake.state = { ...fake.state, minDecryption: version };
      return Promise.resolve();
    },
    async rotate() {
      fake.calls.rotate += 1;
      await fake.before("rotate");
      return fake.addVersion(Math.max(...fake.state.versions.values()) + 10_000);
    },
    hmac: (_key, version, input) =>
      Promise.resolve(createHmac("sha256", secret).update(String(version)).update(input).digest()),
    health: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
  return fake;
}
