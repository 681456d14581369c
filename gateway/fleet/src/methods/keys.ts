// FleetService: the keys of clusters, as they are, and new versions of them.
import type { ClusterKeys } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import type { KeyRef, KeyState } from "@claviger/gateway-core/src/backend/port.ts";
import { promoteLatest, replaceLost } from "@claviger/gateway-core/src/key/changes.ts";
import { keyOf } from "@claviger/gateway-core/src/registry/edit/text.ts";
import { createGate } from "@claviger/gateway-core/src/registry/gate.ts";
import { keysMessage, unknownKeys } from "@claviger/gateway-core/src/registry/key-message.ts";
import { isSelected } from "@claviger/gateway-core/src/registry/labels.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import type { KeyAccess } from "../keys/access.ts";
import { type KeyFacts, withFacts } from "../keys/facts.ts";
import type { FleetMethods } from "../method.ts";
import { refuse, toRefusal } from "../refusal.ts";
import type { Scope } from "../scope.ts";
import { pageOf, reasonOf, selectorOf } from "./request.ts";

const callMs = 10_000;
/** Keys that are looked at at the same time. */
const parallel = 16;

/** The state of a key. @throws Refusal, KmsError */
export async function describeKey(access: KeyAccess, ref: KeyRef): Promise<KeyState> {
  return await access.backendOf(ref).describe(ref, AbortSignal.timeout(callMs));
}

/** As the API has it. @param known what is known of it beside its backend's word @throws Refusal, KmsError */
export async function keysOf(
  access: KeyAccess,
  record: ClusterRecord,
  known: Promise<KeyFacts> = access.facts.read([record.uid]),
): Promise<ClusterKeys> {
  const { maxAgeMs } = access;
  const ref = keyOf(record);
  const [state, facts] = await Promise.all([describeKey(access, ref), known]);
  const now = Date.now();
  return withFacts(keysMessage(record, ref, state, { now, maxAgeMs }), record, { ref, state }, facts, now);
}

export function keyMethods(
  scope: Scope,
  access: KeyAccess,
): Pick<FleetMethods, "getClusterKeys" | "listKeys" | "rotateKey" | "promoteKey"> {
  return {
    async getClusterKeys({ name }, caller, subject) {
      return { keys: await keysOf(access, await scope.one(caller, name, subject)) };
    },
    async listKeys(request, caller) {
      const selector = selectorOf(request.selector);
      const all = await scope.all(caller);
      const { page, nextPageToken } = pageOf(request, { usual: 50, most: 200 }, () =>
        all.filter(({ labels }) => isSelected(selector, labels)),
      );
      const gate = createGate(parallel);
      const facts = access.facts.read(page.map(({ uid }) => uid));
      const look = (record: ClusterRecord): Promise<ClusterKeys> =>
        gate(() => keysOf(access, record, facts)).catch((error: unknown) =>
          unknownKeys(record, toRefusal(error).message),
        );
      return { keys: await Promise.all(page.map(look)), nextPageToken };
    },
    async rotateKey({ name, reason, aboveVersion }, caller, subject) {
      subject.because = reasonOf(reason);
      const record = await scope.one(caller, name, subject);
      await scope.users(caller, record);
      if (aboveVersion > 1_000_000) throw refuse("invalid_argument", "above_version: must be at most 1000000");
      const ref = keyOf(record);
      const backend = access.backendOf(ref);
      const version =
        aboveVersion === 0
          ? await backend.rotate(ref, AbortSignal.timeout(callMs))
          : await replaceLost(backend, ref, aboveVersion);
      await access.announce(ref);
      return { keys: await keysOf(access, record), version };
    },
    async promoteKey({ name, reason }, caller, subject) {
      subject.because = reasonOf(reason);
      const record = await scope.one(caller, name, subject);
      await scope.users(caller, record);
      const ref = keyOf(record);
      const { changed } = await promoteLatest(access.backendOf(ref), ref);
      await access.announce(ref);
      return { keys: await keysOf(access, record), changed };
    },
  };
}
