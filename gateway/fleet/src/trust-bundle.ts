// The CA certificates that nodes verify gateways and this service by, and which of them the service itself is
// signed by: nodes pin that one when they enroll. (docs/architecture.md #enrollment.)
import type { X509Certificate } from "node:crypto";
import { splitPem } from "@claviger/proto/runtime/certificates.ts";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import { readPemFiles } from "@claviger/proto/runtime/pem-files.ts";
import { certificatePin } from "@claviger/proto/runtime/pins.ts";
import { findPath } from "@claviger/gateway-core/src/pki/trust.ts";

export type TrustBundle = {
  /** PEM */
  readonly pem: string;
  /** `sha256:` and the SHA-256 of one of its certificates. */
  readonly pin: string;
};

/**
 * @param file the bundle
 * @param cert the service's own certificate and its intermediates, PEM
 * @throws ConfigError where it cannot be read, or the service is not verified by it
 */
export function readTrustBundle(file: string, cert: string): TrustBundle {
  const { ca: pem } = readPemFiles({ ca: file }, { side: "server", at: "certificates.trustBundle: " });
  const [leaf, ...sent] = splitPem(cert);
  const anchors: readonly X509Certificate[] = splitPem(pem);
  const anchor = leaf === undefined ? undefined : findPath(leaf, anchors, sent)?.at(-1);
  if (anchor === undefined)
    throw new ConfigError("certificates.trustBundle", [
      `${file} has no CA that signed this service's own certificate (tls.cert): nodes could not verify it`,
    ]);
  return { pem, pin: certificatePin(anchor) };
}
