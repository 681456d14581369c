// Which keys of the registry are one key. Backends' names are logical (docs/architecture.md
// #registry): a key may be reached under two of them, and its namespace may stand in the cluster's
// record or in the backend's configuration. It knows what the configuration says, and cannot tell that
// two addresses lead to one Vault.
import type { BackendConfig } from "../backend/config.ts";
import type { KeyRef } from "../backend/port.ts";
import { keyPath } from "../key/key-id.ts";

/** Every place where the key is, one for each address of its backend. */
function placesOf(ref: KeyRef, config: BackendConfig | undefined): readonly string[] {
  switch (config?.kind) {
    case undefined:
      return [JSON.stringify([ref.backend, keyPath(ref)])];
    case "embedded":
      return [JSON.stringify([config.file, keyPath(ref)])];
    case "vault": {
      const path = keyPath(config.namespace === undefined ? ref : { namespace: config.namespace, ...ref });
      return config.addresses.map((address) => JSON.stringify([new URL(address).host, path]));
    }
  }
}

/** Do two refs lead to one key? */
export function isSameKey(a: KeyRef, b: KeyRef, backends: Readonly<Record<string, BackendConfig>>): boolean {
  const places = placesOf(a, backends[a.backend]);
  return placesOf(b, backends[b.backend]).some((place) => places.includes(place));
}
