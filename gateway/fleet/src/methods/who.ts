// FleetService: who the caller is.
import type { FleetMethods } from "../method.ts";
import { refuse } from "../refusal.ts";

/** @param uriOf the SPIFFE id of a path */
export function whoMethods(uriOf: (path: string) => string): Pick<FleetMethods, "whoAmI"> {
  return {
    whoAmI(_, caller) {
      switch (caller.kind) {
        case "operator":
          return Promise.resolve({
            identity: uriOf(`operator/${caller.operator}`),
            role: caller.role,
            clusters: caller.clusters,
          });
        case "node":
          return Promise.resolve({ identity: uriOf(`cluster/${caller.cluster}/node/${caller.node}`) });
        case "anonymous":
          throw refuse("unauthenticated", "this method needs a client certificate");
      }
    },
  };
}
