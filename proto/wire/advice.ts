// What to do about each reason of the error table, as an operator on the node does it.
import { type Reason, reasons } from "./errors.ts";

const gatewaysLog = "the gateway's log and its /readyz name the cause";
const readyz = "the shim's /readyz names each gateway and why it is not used";

const table: Readonly<Record<Reason, string>> = {
  identity_invalid: "give this node a certificate of its own: claviger pki node CLUSTER NODE, or your CA's",
  issuer_not_allowed:
    "the cluster's record names another CA (issuer): use a certificate of that one, or change the record",
  node_revoked: "find out why; then: claviger node allow CLUSTER/NODE, or a new certificate where one was revoked",
  node_unexpected: "where the node belongs to the cluster: claviger node expect CLUSTER NODE...",
  cluster_unknown: "add it: claviger cluster add CLUSTER; claviger cluster list shows those that there are",
  cluster_suspended: "resume it once you know why it was suspended: claviger cluster resume CLUSTER",
  cluster_decrypt_only: "make it active, if it is to write again: claviger cluster resume CLUSTER",
  cluster_not_served:
    "name the gateways of its cell in the shim's list, or change the cluster's labels: claviger cluster label CLUSTER KEY=VALUE --overwrite",
  role_missing: "ask an administrator of the fleet for the role",
  request_malformed: "this is a fault of the caller: compare the versions of shim and gateway",
  request_too_large: "this is a fault of the caller: compare the versions of shim and gateway",
  ciphertext_invalid:
    "the ciphertext is another cluster's, or damaged: claviger key status CLUSTER shows what decrypts",
  method_unknown: "upgrade the gateways",
  canceled: "run this again",
  key_missing:
    "see what the backend has: claviger key status CLUSTER; a key that was deleted comes back from a backup only",
  key_unpinned: "let a version encrypt: claviger key promote CLUSTER",
  key_unusable: `${gatewaysLog}; a soft-deleted key can be restored, one of another type has to be made anew`,
  key_rolled_back: "run claviger key rotate CLUSTER --above LOST; the gateway's log names LOST",
  backend_denied: "see what the policy lacks: claviger vault init --dry-run; without --dry-run it is put right",
  backend_login_refused: `give the gateways a login that works: ${gatewaysLog}`,
  backend_unavailable: `see whether Vault serves: bao status, or vault status; ${gatewaysLog}`,
  backend_sealed: "unseal Vault: bao operator unseal, or vault operator unseal",
  backend_rate_limited: "raise the rate limit quota of Vault for the gateways' mount",
  backend_protocol_error: `something else than Vault answers, or a version that is not known: ${gatewaysLog}`,
  gateway_unavailable: `see whether a gateway serves and can be reached from this node: ${readyz}`,
  gateway_behind: `wait for a refresh of the gateways; where it stays, they read different registries or Vaults: ${gatewaysLog}`,
  gateway_draining: `start more than one gateway, and restart one after the other: ${readyz}`,
  audit_unavailable: `let a sink take records again (disk full? collector away?): ${gatewaysLog}`,
  overloaded:
    "find out who asks that much, and raise the cluster's limits.requestsPerSecond; where claviger_gateway_request_limit shows a limit, start more gateways",
  deadline_exceeded: `see what takes so long: ${readyz}; the gateway's metrics show how long Vault takes`,
  internal: "report it with the line of the log",
};

/** What to do about a reason. */
export function adviceFor(reason: Reason): string {
  return table[reason];
}

const byMessage = new Map(Object.entries(reasons).map(([reason, { message }]) => [message, reason as Reason]));

/** For a message of the error table; undefined for any other text, as that of another release. */
export function adviceForMessage(message: string): string | undefined {
  const reason = byMessage.get(message);
  return reason === undefined ? undefined : table[reason];
}
