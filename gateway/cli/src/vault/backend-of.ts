// Which of a configuration's backends `vault init` is for.
import type { BackendConfig, VaultConfig } from "@claviger/gateway-core/src/backend/config.ts";
import { CliError } from "../commander.ts";
import type { VaultBackend } from "../fleet.ts";

/** The one that is named, or the only one of kind vault. @throws CliError */
export function backendOf(
  { backends }: { readonly backends: Readonly<Record<string, BackendConfig>> },
  wanted: string | undefined,
): VaultBackend {
  const vaults = Object.entries(backends).flatMap(([name, config]) =>
    config.kind === "vault" ? [{ name, config }] : [],
  );
  const found = wanted === undefined ? vaults : vaults.filter(({ name }) => name === wanted);
  const [one, more] = found;
  if (one === undefined)
    throw new CliError(
      wanted === undefined ? "the configuration has no backend of kind vault" : `there is no vault backend ${wanted}`,
    );
  if (more !== undefined) throw new CliError(`give --backend: one of ${vaults.map(({ name }) => name).join(", ")}`);
  return one;
}

/** What the output begins with. */
export function titleOf(name: string, { addresses, namespace }: VaultConfig): string {
  return `backend ${name}, ${addresses.join(", ")}${namespace === undefined ? "" : `, namespace ${namespace}`}`;
}
