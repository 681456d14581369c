// A CA as a registry names it, to pin a cluster to it.
import { createHash, type X509Certificate } from "node:crypto";

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** A CA signs many: each text is made once for it. */
function onceFor(make: (certificate: X509Certificate) => string): (certificate: X509Certificate) => string {
  const made = new WeakMap<X509Certificate, string>();
  return (certificate) => {
    const text = made.get(certificate) ?? make(certificate);
    made.set(certificate, text);
    return text;
  };
}

/** By its certificate: another one once the CA is renewed. */
export const certificatePin = onceFor(({ raw }) => `sha256:${sha256(raw)}`);

/** By its public key, which a renewal of the CA may keep. */
export const publicKeyPin = onceFor(
  ({ publicKey }) => `spki-sha256:${sha256(publicKey.export({ type: "spki", format: "der" }))}`,
);
