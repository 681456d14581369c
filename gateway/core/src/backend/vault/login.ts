// How a gateway proves itself to Vault. Credentials are read from their files at each login; they
// may have been replaced. (docs/architecture.md #vault.)
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { z } from "@claviger/proto/runtime/config.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { Secret } from "@claviger/proto/runtime/secret.ts";
import type { AuthConfig } from "../config.ts";
import type { VaultClient } from "./client.ts";

/** A token and how long it lives. */
export type Lease = {
  readonly token: Secret;
  /** Milliseconds from now; 0 for ever. */
  readonly ttlMs: number;
  readonly isRenewable: boolean;
  /** Requests that the token is good for; undefined without end. */
  readonly uses?: number;
};

/** What is configured, or a token that somebody already has: an operator's own, or one just granted. */
export type Credentials = AuthConfig | { readonly kind: "given"; readonly token: Secret; readonly isNew?: boolean };

const authReply = z.object({
  auth: z.object({
    client_token: z.string(),
    lease_duration: z.number(),
    renewable: z.boolean(),
    num_uses: z.optional(z.number()),
  }),
});
const lookupReply = z.object({
  data: z.object({
    ttl: z.number(),
    renewable: z.optional(z.boolean()),
    expire_time: z.optional(z.nullable(z.string())),
  }),
});
const unwrapReply = z.object({ data: z.object({ secret_id: z.string() }) });

function checked<S extends z.core.$ZodType>(schema: S, reply: unknown, what: string): z.core.output<S> {
  const result = z.safeParse(schema, reply);
  // Without the reply: it holds a token.
  if (!result.success)
    throw new KmsError("backend_protocol_error", { cause: new Error(`a ${what} reply of another form`) });
  return result.data;
}

function leaseOf(reply: unknown): Lease {
  const { auth } = checked(authReply, reply, "login");
  const { client_token: token, lease_duration: seconds, renewable: isRenewable, num_uses: uses = 0 } = auth;
  return { token: new Secret(token), ttlMs: seconds * 1000, isRenewable, ...(uses > 0 && { uses }) };
}

/** What a credential file says. @throws KmsError backend_unavailable when it cannot be read or is empty */
export async function readCredential(file: string): Promise<string> {
  try {
    const text = (await readFile(file, "utf8")).trim();
    if (text !== "") return text;
  } catch (error) {
    throw new KmsError("backend_unavailable", {
      cause: new Error(`${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? "unknown error"})`),
    });
  }
  throw new KmsError("backend_unavailable", { cause: new Error(`${file} is empty`) });
}

/**
 * Logs in, each time with what the credential files say then.
 * @throws KmsError as the client; backend_unavailable when a file is not there
 */
export type Login = (signal: AbortSignal) => Promise<Lease>;

/** @param clientOf a client of the login's namespace with that token, or none */
export function createLogin(auth: Credentials, clientOf: (token?: Secret) => VaultClient): Login {
  // A wrapping token opens once; what was in it serves until the file holds another.
  let unwrapped: { readonly from: string; readonly secretId: Secret } | undefined;

  const post = async (path: string, data: Readonly<Record<string, unknown>>, signal: AbortSignal): Promise<Lease> =>
    leaseOf(await clientOf().write(`auth/${path}`, data, signal));

  const unwrap = async (given: string, signal: AbortSignal): Promise<Secret> => {
    const from = createHash("sha256").update(given).digest("hex");
    if (unwrapped?.from !== from) {
      const reply = await clientOf(new Secret(given)).write("sys/wrapping/unwrap", {}, signal, { isOnce: true });
      unwrapped = { from, secretId: new Secret(checked(unwrapReply, reply, "unwrap").data.secret_id) };
    }
    return unwrapped.secretId;
  };

  return async (signal) => {
    switch (auth.kind) {
      case "given":
        if (auth.isNew !== true) await clientOf(auth.token).read("auth/token/lookup-self", signal);
        return { token: auth.token, ttlMs: 0, isRenewable: false };
      case "token":
      case "token-file": {
        const token = new Secret(await readCredential(auth.file));
        const { data } = checked(lookupReply, await clientOf(token).read("auth/token/lookup-self", signal), "lookup");
        // Whoever writes a token file renews what is in it, often without writing it again: its
        // life is not ours to reckon.
        if (auth.kind === "token-file") return { token, ttlMs: 0, isRenewable: false };
        // Whole seconds: 0 is also the last second of a token that ends.
        const ttlMs = data.ttl === 0 && typeof data.expire_time === "string" ? 500 : data.ttl * 1000;
        return { token, ttlMs, isRenewable: data.renewable === true };
      }
      case "approle": {
        const roleId = await readCredential(auth.roleIdFile);
        const given = await readCredential(auth.secretIdFile);
        const secretId = auth.wrapped ? await unwrap(given, signal) : new Secret(given);
        return await secretId.use((text) => post(`${auth.mount}/login`, { role_id: roleId, secret_id: text }, signal));
      }
      case "kubernetes":
      case "jwt":
        return await post(`${auth.mount}/login`, { role: auth.role, jwt: await readCredential(auth.jwtFile) }, signal);
      case "cert":
        return await post(`${auth.mount}/login`, { name: auth.role }, signal);
      case "userpass": {
        const password = await readCredential(auth.passwordFile);
        return await post(`${auth.mount}/login/${encodeURIComponent(auth.username)}`, { password }, signal);
      }
    }
  };
}

/** Renews a token. @throws KmsError as the client */
export async function renew(client: VaultClient, signal: AbortSignal): Promise<Lease> {
  return leaseOf(await client.write("auth/token/renew-self", {}, signal));
}

/**
 * Does Vault know this token? Only a refusal says no; whether it cannot be asked is left open.
 * @throws KmsError as the client
 */
export async function isKnownToken(client: VaultClient, signal: AbortSignal): Promise<boolean> {
  try {
    await client.read("auth/token/lookup-self", signal);
    return true;
  } catch (error) {
    if (error instanceof KmsError && error.reason === "backend_denied") return false;
    throw error;
  }
}
