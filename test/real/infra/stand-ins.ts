// Kinds whose schema is not here: CRDs that take any fields stand in for them, so that what is checked of
// an object is its kind, name and namespace.
const anyFields = { type: "object", "x-kubernetes-preserve-unknown-fields": true };

export function crd(
  group: string,
  version: string,
  kind: string,
  plural: string,
  scope: "Namespaced" | "Cluster" = "Namespaced",
): object {
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope,
      names: { kind, plural, singular: kind.toLowerCase() },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          schema: { openAPIV3Schema: anyFields },
        },
      ],
    },
  };
}

/** What a test of a set of manifests must say that it has not checked; for the end of its name. */
export function unchecked(set: string): string {
  switch (set) {
    case "shim":
      return "";
    case "knative":
      return " (NOT checked: the fields of the Knative Service)";
    case "mixin":
      return " (NOT checked: the fields of the PrometheusRule)";
    default:
      return " (NOT checked: the fields of the ServiceMonitor)";
  }
}
