// How kube-apiserver is told to encrypt Secrets: its EncryptionConfiguration.

/**
 * The name of the KMS provider in the lab's EncryptionConfiguration: stands in every stored value.
 */
export const providerName = "claviger";

function configurationOf(provider: string): string {
  return `apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets]
    providers:
      - ${provider}
      - identity: {}
`;
}

/** A KMS plugin on this socket. */
export function kmsConfiguration(socket: string, apiVersion: "v1" | "v2"): string {
  return configurationOf(
    `kms: { apiVersion: ${apiVersion}, name: ${providerName}, endpoint: "unix://${socket}", timeout: 3s }`,
  );
}

/** A key of 32 bytes that stands in the file itself. */
export function localKeyConfiguration(kind: "aescbc" | "secretbox", key: Uint8Array): string {
  return configurationOf(`${kind}: { keys: [{ name: local, secret: ${Buffer.from(key).toString("base64")} }] }`);
}
