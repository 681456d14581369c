// FleetService: what is revoked, for others than gateways.
import type { NodeCertificates } from "@claviger/gateway-core/src/pki/node-certificates.ts";
import type { FleetMethods } from "../method.ts";
import { refuse } from "../refusal.ts";
import type { Scope } from "../scope.ts";
import { asOperator } from "./request.ts";

export function revocationMethods(
  scope: Scope,
  revocationList: NodeCertificates["revocationList"],
): Pick<FleetMethods, "getRevocationList"> {
  return {
    async getRevocationList(_, caller) {
      const { operator, clusters } = asOperator(caller);
      // A list that lacks some would say that they are good.
      if (clusters !== "")
        throw refuse(
          "permission_denied",
          `a revocation list is of all clusters; the role of ${operator} is for ${clusters}`,
        );
      if (revocationList === undefined)
        throw refuse(
          "failed_precondition",
          "certificates are signed by Vault's PKI, which has a list of its own: read it there, at MOUNT/crl/pem",
        );
      const serials = (await scope.all(caller)).flatMap(({ nodes }) => nodes?.revokedSerials ?? []);
      const { pem, nextUpdate } = await revocationList(serials);
      return { crl: pem, nextUpdate: { seconds: BigInt(Math.floor(nextUpdate.getTime() / 1000)), nanos: 0 } };
    },
  };
}
