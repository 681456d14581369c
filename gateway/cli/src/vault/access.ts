// The operator's (or, in the policy's test, the gateway's) access to a Vault, over the gateway's
// own client.
import { KmsError } from "@claviger/proto/wire/errors.ts";
import type { Secret } from "@claviger/proto/runtime/secret.ts";
import type { VaultConfig } from "@claviger/gateway-core/src/backend/config.ts";
import { createVaultClient, MountMissing, type VaultClient } from "@claviger/gateway-core/src/backend/vault/client.ts";
import { isKnownToken } from "@claviger/gateway-core/src/backend/vault/login.ts";
import { createVaultTransport } from "@claviger/gateway-core/src/backend/vault/transport.ts";
import { type VaultControl, type VaultData, VaultRefusal } from "./control.ts";

const callMs = 15_000;

function asRecord(reply: unknown): VaultData {
  return typeof reply === "object" && reply !== null ? (reply as VaultData) : {};
}

/** One Vault, with any token; the caller closes it. */
export type VaultAccess = { readonly open: (token: Secret) => VaultControl; close(): Promise<void> };

export function openVaultAccess(config: VaultConfig): VaultAccess {
  const transport = createVaultTransport(config);
  const attempt = async <T>(
    client: VaultClient,
    path: string,
    call: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> => {
    try {
      return await call(AbortSignal.timeout(callMs));
    } catch (error) {
      if (!(error instanceof KmsError)) throw error;
      // The cause holds Vault's own message, and no token.
      const why = error.cause instanceof Error ? error.cause.message : "";
      // Vault says the same of a token that it does not know and of one that lacks a right.
      if (error.reason === "backend_denied" && !(await isKnownToken(client, AbortSignal.timeout(callMs))))
        throw new KmsError("backend_login_refused", { cause: error });
      if (error.reason === "backend_denied") throw new VaultRefusal(403, path, why);
      if (error.reason === "request_malformed") throw new VaultRefusal(400, path, why);
      if (error.reason === "key_missing" || error.cause instanceof MountMissing) throw new VaultRefusal(404, path, why);
      throw error;
    }
  };
  return {
    open: (token) => {
      const client = createVaultClient(transport, config.namespace, token);
      return {
        read: async (path) => {
          try {
            const { data } = asRecord(await attempt(client, path, (signal) => client.read(path, signal)));
            return data === undefined ? undefined : asRecord(data);
          } catch (error) {
            if (error instanceof VaultRefusal && error.status === 404) return undefined;
            throw error;
          }
        },
        write: async (path, body) =>
          asRecord(await attempt(client, path, (signal) => client.write(path, body, signal))),
      };
    },
    close: () => transport.close(),
  };
}
