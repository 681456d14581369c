// FleetService: who the caller is.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { TimestampSchema } from "@bufbuild/protobuf/wkt";
import { tokenOperatorName } from "@claviger/proto/wire/names.ts";
import type { FleetMethods } from "../method.ts";
import { refuse } from "../refusal.ts";

/** @param milliseconds Unix */
function timestamp(milliseconds: number): MessageInitShape<typeof TimestampSchema> {
  return { seconds: BigInt(Math.floor(milliseconds / 1000)), nanos: 0 };
}

/** @param uriOf the SPIFFE id of a path */
export function whoMethods(uriOf: (path: string) => string): Pick<FleetMethods, "whoAmI"> {
  return {
    whoAmI(_, caller) {
      switch (caller.kind) {
        case "operator":
          return Promise.resolve({
            identity: tokenOperatorName.is(caller.operator) ? caller.operator : uriOf(`operator/${caller.operator}`),
            role: caller.role,
            clusters: caller.clusters,
            expiresAt: timestamp(caller.until),
          });
        case "node":
          return Promise.resolve({
            identity: uriOf(`cluster/${caller.cluster}/node/${caller.node}`),
            expiresAt: timestamp(caller.notAfter),
          });
        case "anonymous":
          throw refuse("unauthenticated", "this method needs a client certificate or a token");
      }
    },
  };
}
