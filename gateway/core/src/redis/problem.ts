// What is wrong with a Redis, in words: for the log and /readyz. (docs/architecture.md #keys.)
import { describeConnection } from "@claviger/proto/runtime/network.ts";

const refusals: Readonly<Record<string, string>> = {
  WRONGPASS: "it refuses the user name or the password",
  NOAUTH: "it wants a password; none is configured, or it was refused",
  NOPERM: "its ACL does not let this user do what a gateway needs",
  READONLY: "it is a replica, and takes no writes",
  OOM: "it is out of memory, and takes no writes",
  MISCONF: "it cannot write to its disk, and takes no writes",
  LOADING: "it is still loading its data",
  MASTERDOWN: "it is a replica that has lost its master",
  CLUSTERDOWN: "its cluster is down",
  NOREPLICAS: "too few replicas follow it, so it takes no writes",
  UNKILLABLE: "a script holds it up",
  BUSY: "a script holds it up",
};

const rights = "let the user do what a gateway does: +@read +@write +@pubsub +@connection, on its keys and channels";
const primary = "name the primary in redis.node, or have Sentinel or Cluster name it (redis.kind)";

/** What to do about a refusal; a right is what is missing where nothing better is known. */
const cures: Readonly<Record<string, string>> = {
  READONLY: primary,
  MASTERDOWN: primary,
  OOM: "raise its maxmemory, or give it to gateways alone (docs/size.md says what they need)",
  MISCONF: "make room on its disk, or switch snapshots off: nothing that gateways keep there has to outlive it",
  LOADING: "wait until it has read its data",
  CLUSTERDOWN: "have each slot served by a node: redis-cli --cluster check",
  NOREPLICAS: "bring its replicas back, or lower min-replicas-to-write",
  UNKILLABLE: "end the script: SCRIPT KILL, or restart it",
  BUSY: "end the script: SCRIPT KILL, or restart it",
};

/** @param said by describeProblem */
export function cureOfProblem(said: string): string {
  const word = Object.keys(cures).find((one) => refusals[one] === said);
  return (word === undefined ? undefined : cures[word]) ?? rights;
}

/**
 * Of what some client or server said; never repeats a value. Undefined where it only says that there is
 * no connection, which has a reason of its own.
 */
export function describeProblem(error: unknown): string | undefined {
  const { code, message = "" } = error as { readonly code?: string; readonly message?: string };
  const [word = ""] = message.split(" ");
  const refused = refusals[word];
  if (refused !== undefined) return refused;
  if (code !== undefined) return describeConnection(code) ?? code;
  if (message.startsWith("Unknown RESP type")) return "what answers there does not speak the protocol of Redis";
  if (message.startsWith("Command timed out")) return "it does not answer a command in time";
  if (message.startsWith("All sentinels are unreachable"))
    return `no Sentinel names a master (${describeSentinels(message)})`;
  if (/Stream isn't writeable|Connection is closed/.test(message)) return undefined;
  if (/ClusterAllFailedError|Failed to refresh slots cache/.test(message)) return "no node of the cluster answers";
  if (/^ERR Client sent AUTH|^ERR AUTH/.test(message)) return "a password is configured, and it wants none";
  return /^[A-Z]{3,20}$/.test(word) ? `it answers ${word}` : "it does not work";
}

function describeSentinels(message: string): string {
  const last = /Last error: (.*)$/.exec(message)?.[1] ?? "";
  const code = [...Object.keys(refusals), ...last.split(/[^A-Z_]+/)].find(
    (word) => last.includes(word) && (refusals[word] ?? describeConnection(word)) !== undefined,
  );
  return code ?? "none answers, or none knows the name";
}
