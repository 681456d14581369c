// What a cluster's record says against a node of it. (docs/architecture.md #identity.)
import type { NodeName } from "@claviger/proto/wire/names.ts";
import { type ClusterRecord, normalSerial } from "./record.ts";

/** May the CA of this certificate speak for the cluster? */
export function mayIssue(
  { issuer }: ClusterRecord,
  { issuers = [] }: { readonly issuers?: readonly string[] },
): boolean {
  return issuer === undefined || issuers.includes(issuer);
}

/** @param serial of the certificate; absent for a node that has none yet */
export function nodeRefusal(
  { nodes }: ClusterRecord,
  { node, serial }: { readonly node: NodeName; readonly serial?: string },
): "node_revoked" | "node_unexpected" | undefined {
  if (nodes === undefined) return undefined;
  const { expected, revoked = [], revokedSerials = [] } = nodes;
  if (revoked.includes(node) || (serial !== undefined && revokedSerials.includes(normalSerial(serial))))
    return "node_revoked";
  return expected === undefined || expected.includes(node) ? undefined : "node_unexpected";
}
