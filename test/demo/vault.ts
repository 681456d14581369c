// What the demo needs of a Vault or OpenBao: a Transit mount of its own, one key, a policy, and a
// short-lived token for the gateway. It makes what is missing, changes nothing else, and says how
// to remove it.
import { Secret } from "@claviger/proto/runtime/secret.ts";
import { send } from "./https.ts";

export type VaultAccess = {
  readonly addr: string;
  readonly token: Secret;
  readonly namespace?: string;
  /** PEM text */
  readonly ca?: string;
};

export const mount = "claviger-demo";
export const key = "fleet";
const policy = "claviger-demo";
const tokenTtl = "15m";

/**
 * Encrypt, decrypt, look at the key, promote a version. Nothing else: no other key, no rotation, no
 * export, no deletion.
 */
const rules = `
path "${mount}/encrypt/${key}" { capabilities = ["update"] }
path "${mount}/decrypt/${key}" { capabilities = ["update"] }
path "${mount}/keys/${key}" { capabilities = ["read"] }
path "${mount}/keys/${key}/config" {
  capabilities = ["update"]
  allowed_parameters = { "min_encryption_version" = [] }
}
`;

export type Prepared = {
  /** What was made or found, for the reader. */
  readonly done: readonly string[];
  readonly remove: readonly string[];
  readonly gatewayToken: Secret;
  /** Revokes the gateway's token. */
  release(): Promise<void>;
};

type Reply = { readonly status: number; readonly data: Readonly<Record<string, unknown>> };

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

async function call(
  { addr, token, namespace, ca }: VaultAccess,
  method: string,
  path: string,
  body?: unknown,
): Promise<Reply> {
  const answer = await token.use((text) =>
    send({
      url: `${addr.replace(/\/$/, "")}/v1/${path}`,
      method,
      headers: { "x-vault-token": text, ...(namespace === undefined ? {} : { "x-vault-namespace": namespace }) },
      ...(body === undefined ? {} : { body: Buffer.from(JSON.stringify(body)) }),
      ...(ca === undefined ? {} : { tls: { ca } }),
    }),
  );
  const parsed: unknown = answer.body.length === 0 ? {} : JSON.parse(answer.body.toString());
  return { status: answer.status, data: isRecord(parsed) ? parsed : {} };
}

async function must(access: VaultAccess, method: string, path: string, body?: unknown): Promise<Reply> {
  const reply = await call(access, method, path, body);
  if (reply.status >= 300)
    throw new Error(
      `Vault answers ${reply.status} to ${method} ${path}; the token in VAULT_TOKEN needs to be allowed that`,
    );
  return reply;
}

/** Makes the mount, the key, the policy and the token. */
export async function prepareVault(access: VaultAccess): Promise<Prepared> {
  const done: string[] = [];
  if ((await call(access, "GET", `sys/mounts/${mount}/tune`)).status >= 300) {
    await must(access, "POST", `sys/mounts/${mount}`, { type: "transit", description: "Claviger's demo" });
    done.push(`made the Transit mount ${mount}`);
  } else done.push(`found the Transit mount ${mount}`);
  if ((await call(access, "GET", `${mount}/keys/${key}`)).status >= 300) {
    await must(access, "POST", `${mount}/keys/${key}`, { type: "aes256-gcm96" });
    done.push(`made the key ${mount}/keys/${key} (aes256-gcm96, not exportable)`);
  } else done.push(`found the key ${mount}/keys/${key}`);
  await must(access, "PUT", `sys/policies/acl/${policy}`, { policy: rules });
  const created = await must(access, "POST", "auth/token/create", {
    policies: [policy],
    ttl: tokenTtl,
    renewable: true,
    display_name: "claviger-demo",
  });
  const auth = created.data["auth"];
  const token = isRecord(auth) ? auth["client_token"] : undefined;
  if (typeof token !== "string") throw new Error("Vault gave no token");
  done.push(`wrote the policy ${policy} and made a token under it for the gateway (${tokenTtl}, revoked at the end)`);
  const gatewayToken = new Secret(token);
  return {
    done,
    remove: [`vault secrets disable ${mount}`, `vault policy delete ${policy}`],
    gatewayToken,
    release: async () => void (await call({ ...access, token: gatewayToken }, "POST", "auth/token/revoke-self")),
  };
}
