// Whose credentials a command goes to a Vault with: the operator's own token and client certificate,
// under the names that the vault command reads; never the gateway's.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Secret } from "@claviger/proto/runtime/secret.ts";
import type { VaultConfig } from "@claviger/gateway-core/src/backend/config.ts";
import { CliError, type Terminal } from "./commander.ts";
import { readTextFile } from "./outside.ts";

function sameOrigin(a: string, b: string): boolean {
  return URL.canParse(a) && URL.canParse(b) && new URL(a).origin === new URL(b).origin;
}

/** A token, and where it came from. */
export type OwnToken = { readonly token: Secret; readonly from: string };

/** The operator's own token, for a Vault at one of these addresses. */
export function operatorToken(
  name: string,
  addresses: readonly string[],
  tokenFile: string | undefined,
  { env, home }: Terminal,
): OwnToken {
  const fromFile = (file: string): OwnToken => {
    const text = readTextFile(file).trim();
    if (text === "") throw new CliError(`${file} is empty; log in again (vault login, bao login)`);
    return { token: new Secret(text), from: file };
  };
  if (tokenFile !== undefined) return fromFile(tokenFile);
  const address = env["VAULT_ADDR"];
  // A token belongs to one Vault: sending it to another would give it away.
  if (address !== undefined && address !== "" && !addresses.some((known) => sameOrigin(known, address)))
    throw new CliError(
      `VAULT_ADDR is not an address of backend ${name} (${addresses.join(", ")}); set it to the one that your token is for, or unset it`,
    );
  const token = env["VAULT_TOKEN"];
  if (token !== undefined && token !== "") return { token: new Secret(token), from: "VAULT_TOKEN" };
  const file = join(home, ".vault-token");
  if (!existsSync(file))
    throw new CliError(
      `backend ${name} needs your own Vault token: set VAULT_TOKEN, or log in (vault login) so that ~/.vault-token is there`,
    );
  return fromFile(file);
}

/**
 * The gateway's client certificate stays the gateway's: an operator shows their own, where the Vault
 * wants one, under the names that the vault command reads.
 * @param isOwn the settings are the operator's own
 */
export function asOperator(vault: VaultConfig, isOwn: boolean, { env }: Terminal): VaultConfig {
  const { cert: _, key: __, ...others } = vault.tls ?? {};
  const tls = isOwn ? vault.tls : others;
  const [cert, key] = [env["VAULT_CLIENT_CERT"], env["VAULT_CLIENT_KEY"]];
  const isGiven = (file: string | undefined): file is string => file !== undefined && file !== "";
  if (isGiven(cert) !== isGiven(key))
    throw new CliError("VAULT_CLIENT_CERT and VAULT_CLIENT_KEY go together: only one of them is set");
  const own = isGiven(cert) && isGiven(key) ? { cert, key } : {};
  return { ...vault, tls: { ...tls, ...own } };
}
