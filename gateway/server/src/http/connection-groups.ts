// The connections of one certificate's names, and of one cluster: each has a bound of its own.
// (docs/architecture.md #limits.)
import type { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { clusterUriOf } from "@claviger/proto/runtime/certificates.ts";
import type { ConnectionBound } from "../metrics.ts";
import type { ListenLimits } from "./limits.ts";

export type ConnectionGroup = {
  readonly name: string;
  readonly bound: ConnectionBound;
  readonly most: number;
  /** The oldest comes first. */
  readonly sockets: Set<TLSSocket>;
};

export type ConnectionGroups = {
  /** Those that a certificate's connections belong to. */
  of(certificate: X509Certificate): readonly ConnectionGroup[];
  add(socket: TLSSocket, groups: readonly ConnectionGroup[]): void;
  delete(socket: TLSSocket, groups: readonly ConnectionGroup[]): void;
};

export function createConnectionGroups({
  connectionsPerIdentity,
  connectionsPerCluster,
}: Pick<ListenLimits, "connectionsPerIdentity" | "connectionsPerCluster">): ConnectionGroups {
  const groups = new Map<string, ConnectionGroup>();
  const get = (name: string, bound: ConnectionBound, most: number): ConnectionGroup =>
    groups.get(name) ?? { name, bound, most, sockets: new Set() };
  return {
    of(certificate) {
      const cluster = clusterUriOf(certificate);
      return [
        get(certificate.subjectAltName ?? certificate.fingerprint256, "identity", connectionsPerIdentity),
        ...(cluster === undefined ? [] : [get(cluster, "cluster", connectionsPerCluster)]),
      ];
    },
    add(socket, own) {
      for (const group of own) {
        groups.set(group.name, group);
        group.sockets.add(socket);
      }
    },
    delete(socket, own) {
      for (const { name, sockets } of own) {
        sockets.delete(socket);
        if (sockets.size === 0) groups.delete(name);
      }
    },
  };
}
