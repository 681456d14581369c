// All methods of FleetService, each held against the table of who may call it. Knows neither HTTP nor Connect.
// (docs/architecture.md #control-plane.)
import type { CertificateState } from "@claviger/proto/runtime/expiry.ts";
import type { RegistryEditor } from "@claviger/gateway-core/src/registry/edit/editor.ts";
import type { NodeCertificates } from "@claviger/gateway-core/src/pki/node-certificates.ts";
import type { Approvals } from "./approvals/approvals.ts";
import { createRunApproved, guardMethods } from "./approvals/calls.ts";
import { createGate } from "./approvals/gate.ts";
import type { Kind } from "./approvals/kinds.ts";
import type { ClusterCache } from "./cluster-cache.ts";
import type { Enrollment } from "./enrollment.ts";
import { byOf, type FleetEvents } from "./events/events.ts";
import type { Histories } from "./histories/histories.ts";
import type { FleetMethods, FleetStreams } from "./method.ts";
import type { KeyAccess } from "./keys/access.ts";
import type { KeyAges } from "./keys/ages.ts";
import { approvalMethods } from "./methods/approvals.ts";
import { type AuditAccess, auditMethods } from "./methods/audit.ts";
import { clusterEditMethods } from "./methods/cluster-edits.ts";
import { clusterStatusMethods } from "./methods/cluster-status.ts";
import { clusterMethods } from "./methods/clusters.ts";
import { historyMethods } from "./methods/histories.ts";
import { keyMethods } from "./methods/keys.ts";
import { nodeMethods } from "./methods/nodes.ts";
import { revocationMethods } from "./methods/revocations.ts";
import { retireMethods } from "./methods/retire.ts";
import { statusMethods } from "./methods/status.ts";
import { usageMethods } from "./methods/usage.ts";
import { viewMethods } from "./methods/view.ts";
import { whoMethods } from "./methods/who.ts";
import { asOperator } from "./methods/request.ts";
import { createScope } from "./scope.ts";
import type { Sightings } from "./sightings.ts";

export function createFleetMethods({
  registry,
  clusters,
  keys,
  ages,
  twoPersons,
  events,
  enrollment,
  revocationList,
  sightings,
  histories,
  audit,
  certificates,
  trustBundle,
  caPin,
  gateways,
  uriOf,
}: {
  readonly registry: RegistryEditor;
  /** The same, in memory. */
  readonly clusters: ClusterCache;
  readonly keys: KeyAccess;
  /** How old keys are, as a policy has it. */
  readonly ages: KeyAges;
  /** What takes a second administrator; absent: nothing. */
  readonly twoPersons?: { readonly needing: ReadonlySet<Kind>; readonly approvals: Approvals } | undefined;
  /** Hears what is done. */
  readonly events?: FleetEvents;
  readonly enrollment: Enrollment;
  /** Absent where the authority keeps its own. */
  readonly revocationList?: NodeCertificates["revocationList"] | undefined;
  readonly sightings: Sightings;
  readonly histories: Histories;
  readonly audit: AuditAccess;
  /** Those that this replica uses. */
  readonly certificates: () => readonly CertificateState[];
  /** PEM. */
  readonly trustBundle: () => string;
  /** Names the certificate of the bundle that this service is verified by. */
  readonly caPin: () => string;
  readonly gateways: readonly string[];
  /** The SPIFFE id of a path. */
  readonly uriOf: (path: string) => string;
}): FleetMethods {
  const gate = createGate(
    registry,
    twoPersons?.needing ?? new Set(),
    events && {
      begins: events.begins,
      edited: (name, after, { caller, subject }) => events.edited(name, after, byOf(caller, subject)),
    },
  );
  const scope = createScope(gate.registry, clusters);
  const methods: FleetMethods = {
    ...whoMethods(uriOf),
    ...clusterMethods(scope),
    ...clusterEditMethods(scope),
    ...keyMethods(scope, keys),
    ...retireMethods(scope, keys, gate),
    ...nodeMethods({ scope, enrollment, trustBundle, caPin, gateways }),
    ...revocationMethods(scope, sightings, revocationList),
    ...approvalMethods(
      twoPersons?.approvals,
      createRunApproved(() => methods, gate),
    ),
    ...usageMethods(scope, keys.facts),
    ...viewMethods(scope, sightings),
    ...clusterStatusMethods({ scope, sightings, histories, keys }),
    ...historyMethods(scope, histories, keys),
    ...auditMethods(scope, audit),
    ...statusMethods({ scope, sightings, ages, certificates }),
  };
  return guardMethods(methods, gate, { approvals: twoPersons?.approvals, events });
}

/** What answers with a stream. */
export function createFleetStreams(events: FleetEvents): FleetStreams {
  return {
    watchEvents: ({ cursor }, caller, _, signal) => events.watch(asOperator(caller), cursor, signal),
  };
}
