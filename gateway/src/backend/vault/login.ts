// How a gateway proves itself to Vault. Credentials are read from their files at each login; they may have been replaced. (Design section 8.)
import { readFile } from "node:fs/promises";
import { z } from "@claviger/proto/config.ts";
import { KmsError } from "@claviger/proto/errors.ts";
import { Secret } from "@claviger/proto/secret.ts";
import type { AuthConfig } from "../config.ts";
import type { VaultClient } from "./client.ts";

/** A token and how long it lives. */
export type Lease = {
  readonly token: Secret;
  /** Milliseconds from now; 0 for ever. */
  readonly ttlMs: number;
  readonly isRenewable: boolean;
};

const authReply = z.object({ auth: z.object({ client_token: z.string(), lease_duration: z.number(), renewable: z.boolean() }) });
const lookupReply = z.object({ data: z.object({ ttl: z.number(), renewable: z.optional(z.boolean()) }) });
const unwrapReply = z.object({ data: z.object({ secret_id: z.string() }) });

const checked = <S extends z.core.$ZodType>(schema: S, reply: unknown, what: string): z.core.output<S> => {
  const result = z.safeParse(schema, reply);
  // Without the reply: it holds a token.
  if (!result.success) throw new KmsError("backend_misbehaved", { cause: new Error(`a ${what} reply of another form`) });
  return result.data;
};

const leaseOf = (reply: unknown): Lease => {
  const { auth } = checked(authReply, reply, "login");
  return { token: new Secret(auth.client_token), ttlMs: auth.lease_duration * 1000, isRenewable: auth.renewable };
};

const readCredential = async (file: string): Promise<string> => {
  try {
    const text = (await readFile(file, "utf8")).trim();
    if (text !== "") return text;
  } catch (error) {
    throw new KmsError("backend_unavailable", {
      cause: new Error(`${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? "unknown error"})`),
    });
  }
  throw new KmsError("backend_unavailable", { cause: new Error(`${file} is empty`) });
};

/** @param clientOf a client of the login's namespace with that token, or none */
export const logIn = async (auth: AuthConfig, clientOf: (token?: Secret) => VaultClient, signal: AbortSignal): Promise<Lease> => {
  const post = async (path: string, data: Readonly<Record<string, unknown>>): Promise<Lease> =>
    leaseOf(await clientOf().write(`auth/${path}`, data, signal));
  switch (auth.kind) {
    case "token":
    case "token-file": {
      const token = new Secret(await readCredential(auth.file));
      const { data } = checked(lookupReply, await clientOf(token).read("auth/token/lookup-self", signal), "lookup");
      // Whoever writes a token file renews what is in it.
      return { token, ttlMs: data.ttl * 1000, isRenewable: auth.kind === "token" && data.renewable === true };
    }
    case "approle": {
      const roleId = await readCredential(auth.roleIdFile);
      const given = await readCredential(auth.secretIdFile);
      if (!auth.wrapped) return await post(`${auth.mount}/login`, { role_id: roleId, secret_id: given });
      const { data } = checked(unwrapReply, await clientOf(new Secret(given)).write("sys/wrapping/unwrap", {}, signal), "unwrap");
      return await post(`${auth.mount}/login`, { role_id: roleId, secret_id: data.secret_id });
    }
    case "kubernetes":
    case "jwt":
      return await post(`${auth.mount}/login`, { role: auth.role, jwt: await readCredential(auth.jwtFile) });
    case "cert":
      return await post(`${auth.mount}/login`, { name: auth.role });
    case "userpass":
      return await post(`${auth.mount}/login/${encodeURIComponent(auth.username)}`, { password: await readCredential(auth.passwordFile) });
  }
};

/** Renews a token. @throws KmsError as the client */
export const renew = async (client: VaultClient, signal: AbortSignal): Promise<Lease> =>
  leaseOf(await client.write("auth/token/renew-self", {}, signal));
