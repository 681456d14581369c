// Documents in memory that can be held up and taken away, for unit tests of what stands above the
// port. They keep the contract in test/contracts/documents.ts.
import type { DocumentRef, Documents } from "@claviger/gateway-core/src/backend/port.ts";
import { abortReason } from "@claviger/proto/runtime/abort.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";

export type FakeDocuments = Documents & {
  isAway: boolean;
  /** Reads so far. */
  reads: number;
  /** Why a read of this place fails; undefined: it does not. */
  fails: (at: DocumentRef) => KmsError | undefined;
  /** Runs after a read has looked and before it answers; may wait. */
  before: () => Promise<unknown>;
  /** Puts a document there, whatever is there now; undefined deletes it. */
  set(at: DocumentRef, data: unknown): void;
};

export function createFakeDocuments(): FakeDocuments {
  /** By place. One that was deleted keeps its version, and has no text. */
  const held = new Map<string, { readonly text: string | undefined; readonly version: number }>();
  const placeOf = ({ namespace = "", mount, path }: DocumentRef): string => JSON.stringify([namespace, mount, path]);
  const put = (at: DocumentRef, data: unknown): void => {
    const version = (held.get(placeOf(at))?.version ?? 0) + 1;
    held.set(placeOf(at), { text: data === undefined ? undefined : JSON.stringify(data), version });
  };
  const assertThere = (signal: AbortSignal): void => {
    if (signal.aborted) throw abortReason(signal);
    if (fake.isAway) throw new KmsError("backend_unavailable");
  };
  const fake: FakeDocuments = {
    isAway: false,
    reads: 0,
    fails: () => undefined,
    before: () => Promise.resolve(),
    set: put,
    async readDocument(at, signal) {
      fake.reads += 1;
      assertThere(signal);
      const failure = fake.fails(at);
      if (failure !== undefined) throw failure;
      const found = held.get(placeOf(at));
      await fake.before();
      return found?.text === undefined
        ? undefined
        : { data: JSON.parse(found.text) as unknown, version: found.version };
    },
    async listDocuments({ path, ...rest }, signal) {
      assertThere(signal);
      const names = [...held.keys()].map((place) => JSON.parse(place) as [string, string, string]);
      return names.flatMap(([namespace, mount, held]) => {
        const name = held.startsWith(`${path}/`) ? held.slice(path.length + 1) : "/";
        return namespace === (rest.namespace ?? "") && mount === rest.mount && !name.includes("/") ? [name] : [];
      });
    },
    async removeDocument(at, signal) {
      assertThere(signal);
      held.delete(placeOf(at));
    },
    async writeDocument(at, data, version, signal) {
      assertThere(signal);
      const found = held.get(placeOf(at));
      if ((found?.text === undefined ? 0 : found.version) !== version) return false;
      put(at, data);
      return true;
    },
  };
  return fake;
}
