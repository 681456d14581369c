// What `vault init` asks of a Vault: paths of its HTTP API, below /v1/, in the namespace of the
// login.

export type VaultData = Readonly<Record<string, unknown>>;

/**
 * The operator's access. Rejects with VaultRefusal when Vault refuses, with KmsError when it cannot be
 * reached.
 */
export interface VaultControl {
  /** What stands at a path (the reply's `data`); undefined when nothing does. */
  read(path: string): Promise<VaultData | undefined>;
  /** Writes, and resolves with the whole reply (`data`, `auth`); empty when Vault says nothing. */
  write(path: string, body: VaultData): Promise<VaultData>;
}

/** Vault refused the request. */
export class VaultRefusal extends Error {
  override readonly name = "VaultRefusal";
  readonly status: number;

  constructor(status: number, path: string, why: string) {
    super(
      status === 403
        ? `Vault refuses ${path} to this token (403); use one that may set up mounts, policies and auth roles`
        : `Vault does not take ${path} (${why})`,
    );
    this.status = status;
  }
}

/** A field of a reply as a record; empty when it is none. */
export function recordIn(data: VaultData | undefined, field: string): VaultData {
  const value = data?.[field];
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as VaultData) : {};
}
