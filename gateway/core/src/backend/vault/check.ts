// What --check tries of a Vault: each address by itself, the configured login, and what its token may
// do. The token is revoked at the end. (docs/architecture.md #vault.)
import { type Check, CheckError, type Finding, type Found } from "@claviger/proto/runtime/check.ts";
import { peerOfUrl, withPeerExpiry } from "@claviger/proto/runtime/check-peer.ts";
import { z } from "@claviger/proto/runtime/config.ts";
import { silentLog } from "@claviger/proto/runtime/log.ts";
import type { Secret } from "@claviger/proto/runtime/secret.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import type { BackendName } from "@claviger/proto/wire/names.ts";
import type { AuthConfig, VaultConfig } from "../config.ts";
import type { KeyRef, OpenBackend } from "../port.ts";
import { openVaultBackend } from "./adapter.ts";
import { createVaultClient, type VaultClient } from "./client.ts";
import { findExcess } from "./excess.ts";
import { createLogin, type Lease, readCredential } from "./login.ts";
import { createVaultTransport, type VaultTransport } from "./transport.ts";

const sealReply = z.object({ initialized: z.boolean(), sealed: z.boolean(), version: z.optional(z.string()) });
const lookupReply = z.object({
  data: z.object({ policies: z.optional(z.array(z.string())), identity_policies: z.optional(z.array(z.string())) }),
});

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "[::1]" || host.startsWith("127.");
}

/** Undefined for what is no JSON: anything may stand at an address. */
function parsed(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString("utf8"));
  } catch {
    return undefined;
  }
}

/** What an address says of itself. @throws CheckError, KmsError as the transport */
async function askAddress(transport: VaultTransport, address: string, signal: AbortSignal): Promise<Found<true>> {
  const { status, body } = await transport.send({ method: "GET", path: "/v1/sys/seal-status", headers: {}, signal });
  const state = sealReply.safeParse(status === 200 ? parsed(body) : undefined);
  if (!state.success)
    throw new CheckError(
      `what answers there is no Vault (status ${status})`,
      "correct the address, or what stands before it",
    );
  const { initialized, sealed, version = "of an unknown version" } = state.data;
  if (!initialized) throw new CheckError("it is not initialised", "bao operator init, or vault operator init");
  if (sealed) throw new CheckError("it is sealed", "bao operator unseal, or vault operator unseal");
  const url = new URL(address);
  const isOpen = url.protocol === "http:" && !isLoopback(url.hostname);
  const warning: Finding = {
    verdict: "warning",
    found: "the token and the seeds go there in the clear",
    cure: "use https, or an address of this machine",
  };
  return { found: `unsealed, version ${version}`, value: true, ...(isOpen && { more: [warning] }) };
}

/** Adds a row for each address. @returns whether one serves */
async function checkAddresses(check: Check, name: string, { addresses, tls }: VaultConfig): Promise<boolean> {
  const found = await Promise.all(
    addresses.map((address) =>
      check.step(`backend ${name} ${address}`, async (signal) => {
        const transport = createVaultTransport({ addresses: [address], tls });
        try {
          const found = await askAddress(transport, address, signal);
          const peer = peerOfUrl(address);
          return await withPeerExpiry(found, [peer && { ...peer, serverName: tls?.serverName }], signal);
        } finally {
          await transport.close();
        }
      }),
    ),
  );
  return found.includes(true);
}

function lifeText({ ttlMs, isRenewable, uses }: Lease): string {
  const life = ttlMs === 0 ? "without an end of its own" : `for ${Math.round(ttlMs / 1000)} s`;
  return `${life}${isRenewable ? ", renewable" : ""}${uses === undefined ? "" : `, for ${uses} requests`}`;
}

/** Of the policies a token may have no word itself. */
async function policiesOf(client: VaultClient, signal: AbortSignal): Promise<string> {
  const reply = await client.read("auth/token/lookup-self", signal).catch(() => undefined);
  const known = lookupReply.safeParse(reply);
  if (!known.success) return "policies that it may not ask for";
  const { policies = [], identity_policies: others = [] } = known.data.data;
  return `policies ${[...policies, ...others].join(", ")}`;
}

/** A wrapped secret-id opens once: a check must not be who opens it. */
async function lookAtWrapped(
  auth: AuthConfig & { readonly kind: "approle" },
  client: VaultClient,
  signal: AbortSignal,
): Promise<Finding> {
  const token = await readCredential(auth.secretIdFile);
  try {
    await client.write("sys/wrapping/lookup", { token }, signal);
  } catch (error) {
    if (!(error instanceof KmsError) || error.cause === undefined) throw error;
    throw new CheckError(
      `${auth.secretIdFile}: its wrapping token is used up, has expired, or is none`,
      "put a new wrapped secret-id there; one that a gateway has opened is used up",
    );
  }
  return {
    verdict: "note",
    found: "the wrapped secret-id is good; it opens once, so no login is tried, nor what comes after it",
  };
}

const loginCure = "see the method's mount, role and credential: claviger vault init --dry-run compares them";

/** `isOwn`: the check made the token, and ends it. */
type Login = { readonly token: Secret; readonly isOwn: boolean };

async function logIn(config: VaultConfig, clientOf: (token?: Secret) => VaultClient, signal: AbortSignal) {
  const { auth } = config;
  let lease: Lease;
  try {
    lease = await createLogin(auth, clientOf)(signal);
  } catch (error) {
    if (!(error instanceof KmsError) || !(error.cause instanceof Error)) throw error;
    throw new CheckError(`${auth.kind}: ${error.cause.message} (${error.reason})`, loginCure);
  }
  const policies = await policiesOf(clientOf(lease.token), signal);
  const isOwn = auth.kind !== "token" && auth.kind !== "token-file";
  const ends = !isOwn && lease.ttlMs > 0 && !lease.isRenewable;
  const more: readonly Finding[] = ends
    ? [{ verdict: "warning", found: "the token ends and cannot be renewed", cure: "give the gateway a periodic token" }]
    : [];
  const value: Login = { token: lease.token, isOwn };
  return { found: `${auth.kind}: a token ${lifeText(lease)}, ${policies}`, value, more };
}

/** Ends a token that the check has made, and says so where Vault does not let it. */
async function logOut(check: Check, name: string, client: VaultClient): Promise<void> {
  await client.write("auth/token/revoke-self", {}, AbortSignal.timeout(3000)).catch(() =>
    check.add(`backend ${name} login`, {
      verdict: "warning",
      found: "the token of this check could not be revoked, and lives until its time is over",
      cure: 'let the policy do it: path "auth/token/revoke-self" { capabilities = ["update"] }',
    }),
  );
}

/** A backend as a start would have it, until `end`. */
export type CheckedBackend = {
  readonly backend: OpenBackend;
  /** The paths below a key that the token may not write to; undefined where it may not ask. */
  readonly missingUpdates: (
    key: KeyRef,
    names: readonly string[],
    signal: AbortSignal,
  ) => Promise<readonly string[] | undefined>;
  /** What the token may do that no gateway needs, as far as asking for it changes nothing. */
  readonly excess: (keys: readonly KeyRef[], signal: AbortSignal) => Promise<readonly string[]>;
  /** Closes it, and revokes the token that it was opened with where that is of the check. */
  end(): Promise<void>;
};

/** Adds the rows of a Vault: its addresses and its login. @returns undefined where there is no token */
export async function checkVault(
  check: Check,
  name: BackendName,
  config: VaultConfig,
): Promise<CheckedBackend | undefined> {
  if (!(await checkAddresses(check, name, config))) {
    check.add(`backend ${name} login`, { verdict: "not tried", found: "no address of it serves" });
    return undefined;
  }
  const opened = await check.step(`backend ${name} login`, async (signal): Promise<Found<Login | undefined>> => {
    const transport = createVaultTransport(config);
    const clientOf = (token?: Secret): VaultClient => createVaultClient(transport, config.namespace, token);
    try {
      const { auth } = config;
      if (auth.kind === "approle" && auth.wrapped)
        return { found: "", value: undefined, more: [await lookAtWrapped(auth, clientOf(), signal)] };
      return await logIn(config, clientOf, signal);
    } finally {
      await transport.close();
    }
  });
  return opened && openWith(check, name, config, opened);
}

function openWith(check: Check, name: BackendName, config: VaultConfig, { token, isOwn }: Login): CheckedBackend {
  const transport = createVaultTransport(config);
  const backend = openVaultBackend({ name, config, log: silentLog, token, isNew: true });
  return {
    backend,
    missingUpdates: (key, names, signal) => {
      const client = createVaultClient(transport, key.namespace ?? config.namespace, token);
      return missingUpdates(client, key, names, signal);
    },
    excess: (keys, signal) =>
      findExcess((namespace) => createVaultClient(transport, namespace ?? config.namespace, token), keys, signal),
    async end() {
      await backend.close();
      if (isOwn) await logOut(check, name, createVaultClient(transport, config.namespace, token));
      await transport.close();
    },
  };
}

const capabilityReply = z.object({ data: z.record(z.string(), z.unknown()) });

async function missingUpdates(
  client: VaultClient,
  { mount, key }: KeyRef,
  names: readonly string[],
  signal: AbortSignal,
): Promise<readonly string[] | undefined> {
  const paths = names.map((name) => `${mount}/keys/${key}/${name}`);
  try {
    const reply = capabilityReply.safeParse(await client.write("sys/capabilities-self", { paths }, signal));
    if (!reply.success) return undefined;
    const { data } = reply.data;
    return paths.filter((path) => {
      const may = data[path];
      return !(Array.isArray(may) && (may.includes("update") || may.includes("root")));
    });
  } catch (error) {
    if (error instanceof KmsError && error.reason === "backend_denied") return undefined;
    throw error;
  }
}
