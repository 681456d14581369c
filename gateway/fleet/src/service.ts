// All methods of FleetService, each held against the table of who may call it. Knows neither HTTP nor Connect.
// (docs/architecture.md #control-plane.)
import type { RegistryEditor } from "@claviger/gateway-core/src/registry/edit/editor.ts";
import { checkNeed } from "./caller.ts";
import type { Enrollment } from "./enrollment.ts";
import { type FleetMethods, type MethodName, needs } from "./method.ts";
import { clusterMethods } from "./methods/clusters.ts";
import { nodeMethods } from "./methods/nodes.ts";
import { whoMethods } from "./methods/who.ts";
import { createScope } from "./scope.ts";

export function createFleetMethods({
  registry,
  enrollment,
  trustBundle,
  caPin,
  gateways,
  uriOf,
}: {
  readonly registry: RegistryEditor;
  readonly enrollment: Enrollment;
  /** PEM. */
  readonly trustBundle: () => string;
  /** Names the certificate of the bundle that this service is verified by. */
  readonly caPin: () => string;
  readonly gateways: readonly string[];
  /** The SPIFFE id of a path. */
  readonly uriOf: (path: string) => string;
}): FleetMethods {
  const scope = createScope(registry);
  const methods: FleetMethods = {
    ...whoMethods(uriOf),
    ...clusterMethods(scope),
    ...nodeMethods({ scope, enrollment, trustBundle, caPin, gateways }),
  };
  const checked = <M extends MethodName>(method: M, run: FleetMethods[M]): FleetMethods[M] =>
    (async (request, caller, subject) => {
      checkNeed(needs[method], caller);
      return await run(request, caller, subject);
    }) as FleetMethods[M];
  return Object.fromEntries(
    (Object.keys(methods) as readonly MethodName[]).map((name) => [name, checked(name, methods[name])]),
  ) as FleetMethods;
}
