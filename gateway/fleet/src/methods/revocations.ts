// FleetService: what is revoked, for others than gateways.
import type { NodeCertificates } from "@claviger/gateway-core/src/pki/node-certificates.ts";
import { type ClusterRecord, normalSerial } from "@claviger/gateway-core/src/registry/record.ts";
import type { FleetMethods } from "../method.ts";
import { refuse } from "../refusal.ts";
import type { Scope } from "../scope.ts";
import type { Sightings } from "../sightings.ts";
import { asOperator } from "./request.ts";

type Revoked = { readonly serials: readonly string[]; readonly unknown: readonly string[] };

/** Of nodes that are revoked by name: the certificates that they came with last, and those that have shown none. */
async function revokedByName(records: readonly ClusterRecord[], sightings: Pick<Sightings, "nodes">): Promise<Revoked> {
  const concerned = records.filter(({ nodes }) => (nodes?.revoked ?? []).length > 0);
  const { nodes: seen } = await sightings.nodes(concerned.map(({ uid }) => uid));
  const all = concerned.flatMap(({ name, uid, nodes }) =>
    (nodes?.revoked ?? []).map((node) => ({
      name: `${name}/${node}`,
      serial: seen.get(uid)?.find((report) => report.node === node)?.certificate.serial,
    })),
  );
  return {
    serials: all.flatMap(({ serial }) => serial ?? []),
    unknown: all.flatMap(({ name, serial }) => (serial === undefined ? [name] : [])),
  };
}

export function revocationMethods(
  scope: Scope,
  sightings: Pick<Sightings, "nodes">,
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
      const records = await scope.all(caller);
      const { serials, unknown } = await revokedByName(records, sightings);
      const given = records.flatMap(({ nodes }) => nodes?.revokedSerials ?? []);
      const { pem, nextUpdate } = await revocationList([...new Set([...given, ...serials.map(normalSerial)])]);
      return {
        crl: pem,
        nextUpdate: { seconds: BigInt(Math.floor(nextUpdate.getTime() / 1000)), nanos: 0 },
        withoutSerial: [...unknown],
      };
    },
  };
}
