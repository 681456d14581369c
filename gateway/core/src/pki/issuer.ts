// A CA as a registry names it, to pin a cluster to it.
import { createHash, type X509Certificate } from "node:crypto";

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** By its certificate: another one once the CA is renewed. */
export function certificatePin({ raw }: X509Certificate): string {
  return `sha256:${sha256(raw)}`;
}

/** By its public key, which a renewal of the CA may keep. */
export function publicKeyPin({ publicKey }: X509Certificate): string {
  return `spki-sha256:${sha256(publicKey.export({ type: "spki", format: "der" }))}`;
}
