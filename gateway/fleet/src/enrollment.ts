// How a node comes to a certificate: the first for a token, each further one for the certificate before.
// (docs/architecture.md #enrollment.)
import { nodeRefusal, mayIssue } from "@claviger/gateway-core/src/registry/nodes.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { type NodeCertificates, type NodeNames, nodeUri } from "@claviger/gateway-core/src/pki/node-certificates.ts";
import { readSigningRequest, type SigningRequest } from "@claviger/gateway-core/src/pki/x509.ts";
import type { ClusterName, NodeName, AnyOperatorName, TrustDomain } from "@claviger/proto/wire/names.ts";
import type { Node } from "./caller.ts";
import { type Refusal, refuse } from "./refusal.ts";
import { hashOf, newToken, type TokenStore } from "./tokens.ts";

const callMs = 10_000;

export type Enrolled = NodeNames & { readonly certificate: string };

export interface Enrollment {
  /** @param seconds how long the token is good */
  createToken(
    record: ClusterRecord,
    node: NodeName,
    seconds: number,
    by: AnyOperatorName,
  ): Promise<{ readonly token: string; readonly expiresAt: number }>;
  /** Certifies the key of whoever has a token. @param said who the node thinks that it is */
  enroll(token: string, request: string, said: { readonly cluster: string; readonly node: string }): Promise<Enrolled>;
  /** Certifies another key of a node that has a certificate. */
  renew(node: Node, request: string): Promise<Enrolled>;
}

function usedUp(name: string): Refusal {
  return refuse(
    "permission_denied",
    `the token of ${name} has been used; if not by this node, revoke ${name}: somebody has its certificate`,
  );
}

/** What a record says against a node. @throws Refusal */
function checkNode(record: ClusterRecord, node: { readonly node: NodeName; readonly serial?: string }): void {
  switch (nodeRefusal(record, node)) {
    case "node_revoked":
      throw refuse(
        "failed_precondition",
        `${record.name}/${node.node} is revoked; 'claviger node allow' takes that back`,
      );
    case "node_unexpected":
      throw refuse(
        "failed_precondition",
        `${node.node} is not one of the expected nodes of ${record.name}; see 'claviger node expect'`,
      );
    case undefined:
  }
}

/** @throws Refusal for a request that cannot be read, or asks for another name */
async function readRequest(pem: string, uri: string): Promise<SigningRequest> {
  const request = await readSigningRequest(pem).catch((error: unknown) => {
    if (error instanceof TypeError) throw refuse("invalid_argument", error.message);
    throw error;
  });
  const other = request.uris.find((name) => name !== uri);
  if (other !== undefined)
    throw refuse("permission_denied", `the certificate request asks for ${other}; this node is ${uri}`);
  return request;
}

export function createEnrollment({
  trustDomain,
  tokens,
  certificates,
  lifetimeSeconds,
  clusterOf,
  now = Date.now,
}: {
  readonly trustDomain: TrustDomain;
  readonly tokens: TokenStore;
  readonly certificates: NodeCertificates;
  readonly lifetimeSeconds: number;
  /** The record of a cluster; undefined where there is none. */
  readonly clusterOf: (name: ClusterName) => Promise<ClusterRecord | undefined>;
  readonly now?: () => number;
}): Enrollment {
  const signal = (): AbortSignal => AbortSignal.timeout(callMs);
  const seconds = (): number => Math.floor(now() / 1000);
  const sign = (request: SigningRequest, names: NodeNames): Promise<string> =>
    certificates.sign(request, names, lifetimeSeconds, signal());

  return {
    async createToken(record, node, ttl, by) {
      checkNode(record, { node });
      const token = newToken();
      const expiresAt = seconds() + ttl;
      const { name: cluster, uid } = record;
      await tokens.add(hashOf(token) ?? "", { cluster, uid, node, expiresAt, createdBy: by }, signal());
      return { token, expiresAt };
    },
    async enroll(token, pem, said) {
      const hash = hashOf(token);
      const known = hash === undefined ? undefined : await tokens.read(hash, signal());
      if (hash === undefined || known === undefined)
        throw refuse("unauthenticated", "there is no such token; 'claviger node token CLUSTER/NODE' makes one");
      const { cluster, node, uid, expiresAt, usedAt } = known;
      const name = `${cluster}/${node}`;
      if (usedAt !== undefined) throw usedUp(name);
      if (expiresAt <= seconds())
        throw refuse(
          "permission_denied",
          `the token of ${name} has expired; 'claviger node token ${name}' makes another`,
        );
      if ((said.cluster !== "" && said.cluster !== cluster) || (said.node !== "" && said.node !== node))
        throw refuse(
          "permission_denied",
          `the token is for ${name}, not for ${said.cluster || cluster}/${said.node || node}`,
        );
      const record = await clusterOf(cluster);
      if (record?.uid !== uid)
        throw refuse(
          "failed_precondition",
          `cluster ${cluster} is not in the registry any more as it was when the token was made`,
        );
      checkNode(record, { node });
      const request = await readRequest(pem, nodeUri(trustDomain, { cluster, node }));
      // A certificate that nobody gets to see is worth nothing: the token stays good where signing fails.
      const certificate = await sign(request, { cluster, node });
      if (!(await tokens.use(hash, { usedAt: seconds() }, signal()))) throw usedUp(name);
      return { cluster, node, certificate };
    },
    async renew(caller, pem) {
      const { cluster, node } = caller;
      const record = await clusterOf(cluster);
      if (record === undefined || !mayIssue(record, caller))
        throw refuse(
          "permission_denied",
          `cluster ${cluster} is not in the registry, or takes no certificates of this CA`,
        );
      checkNode(record, caller);
      const request = await readRequest(pem, nodeUri(trustDomain, { cluster, node }));
      return { cluster, node, certificate: await sign(request, { cluster, node }) };
    },
  };
}
