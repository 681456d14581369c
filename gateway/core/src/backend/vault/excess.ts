// What a token of Vault may do that no gateway needs. Each is tried by a request that changes nothing and gives no
// key away, whatever the answer: the recommended token may not ask for its own capabilities.
// (docs/architecture.md #vault.)
import { KmsError } from "@claviger/proto/wire/errors.ts";
import type { KeyRef } from "../port.ts";
import type { VaultClient } from "./client.ts";

type Attempt = {
  /** What it would be able to do. */
  readonly what: string;
  readonly run: (signal: AbortSignal) => Promise<unknown>;
};

/** A key that is nobody's: a decrypt of what is no ciphertext cannot succeed, and a key is not made by it. */
const nobodys = "claviger-doctor-nobody";

function attempts(client: VaultClient, mounts: readonly string[]): readonly Attempt[] {
  return [
    ...mounts.flatMap((mount) => [
      { what: `list the keys of ${mount}`, run: (signal: AbortSignal) => client.list(`${mount}/keys`, signal) },
      {
        what: `decrypt with every key of ${mount}`,
        run: (signal: AbortSignal) =>
          client.write(`${mount}/decrypt/${nobodys}`, { ciphertext: "vault:v1:none" }, signal),
      },
    ]),
    { what: "read sys/mounts", run: (signal) => client.read("sys/mounts", signal) },
    { what: "read sys/auth", run: (signal) => client.read("sys/auth", signal) },
    { what: "list policies", run: (signal) => client.list("sys/policies/acl", signal) },
    { what: "list the accessors of all tokens", run: (signal) => client.list("auth/token/accessors", signal) },
  ];
}

/** Was it let in? What it asked for need not be there, or make sense. */
async function isLetIn({ run }: Attempt, signal: AbortSignal): Promise<boolean> {
  try {
    await run(signal);
    return true;
  } catch (error) {
    if (!(error instanceof KmsError)) throw error;
    if (error.reason === "backend_denied") return false;
    // What is not there, or makes no sense, was let in; a Vault that is away has said nothing.
    if (error.reason === "key_missing" || error.reason === "backend_protocol_error") return true;
    throw error;
  }
}

/**
 * Tries them all.
 * @param clientOf the token's client in a namespace
 * @param keys those that the gateway uses
 * @throws KmsError where Vault cannot be asked
 */
export async function findExcess(
  clientOf: (namespace: string | undefined) => VaultClient,
  keys: readonly KeyRef[],
  signal: AbortSignal,
): Promise<readonly string[]> {
  const namespaces = new Map<string | undefined, Set<string>>();
  for (const { namespace, mount } of keys)
    namespaces.set(namespace, (namespaces.get(namespace) ?? new Set()).add(mount));
  if (namespaces.size === 0) namespaces.set(undefined, new Set());
  const all = [...namespaces].flatMap(([namespace, mounts]) => attempts(clientOf(namespace), [...mounts]));
  const found = await Promise.all(all.map(async (attempt) => ((await isLetIn(attempt, signal)) ? [attempt.what] : [])));
  return [...new Set(found.flat())];
}
