// Who signs the certificates of nodes: an authority in a directory, or Vault's PKI. Either certifies the key
// of a request under the names that the caller says, never under those that the request asks for.
// (docs/architecture.md #enrollment.)
import type { X509Certificate } from "node:crypto";
import { ConfigError, z, zName, zPath } from "@claviger/proto/runtime/config.ts";
import { splitPem } from "@claviger/proto/runtime/certificates.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import {
  backendName,
  type ClusterName,
  mountPath,
  type NodeName,
  type TrustDomain,
} from "@claviger/proto/wire/names.ts";
import type { Pki } from "../backend/port.ts";
import { certifyNode } from "./authority.ts";
import { loadCa } from "./files.ts";
import { createRevocationList, type SigningRequest } from "./x509.ts";

export const certificateAuthoritySchema = z.discriminatedUnion("kind", [
  z.strictObject({
    /** An authority of `claviger pki init`: for demos, labs and small sites. */
    kind: z.literal("directory"),
    /** The directory with ca.crt and ca.key. */
    directory: zPath,
  }),
  z.strictObject({
    /** Vault's PKI secrets engine. */
    kind: z.literal("vault"),
    /** A backend of kind vault: its addresses and its login. */
    backend: zName(backendName),
    /** The Vault namespace of the mount. */
    namespace: z.optional(zName(mountPath)),
    /** The mount of the secrets engine. */
    mount: zName(mountPath),
    /** The role: client certificates with URI names below `spiffe://TRUST-DOMAIN/cluster/`, without names of the request's own. */
    role: z.string().check(z.regex(/^[\w.-]{1,128}$/, { error: "must be 1 to 128 letters, digits and '_.-'" })),
  }),
]);

export type CertificateAuthorityConfig = z.infer<typeof certificateAuthoritySchema>;

/** Whom a certificate is for. */
export type NodeNames = { readonly cluster: ClusterName; readonly node: NodeName };

/** PEM, and until when it counts. */
export type RevocationList = { readonly pem: string; readonly nextUpdate: Date };

export interface NodeCertificates {
  /**
   * A certificate and its intermediates, PEM.
   * @param seconds the life of the certificate
   * @throws KmsError as backends do; backend_protocol_error for a certificate that is not what was asked for
   */
  sign(request: SigningRequest, names: NodeNames, seconds: number, signal: AbortSignal): Promise<string>;
  /**
   * A list of revoked certificates, by their serial numbers. Absent where the authority keeps a list of its own, which
   * knows what was revoked there alone.
   */
  readonly revocationList?: (serials: readonly string[]) => Promise<RevocationList>;
}

export function nodeUri(domain: TrustDomain, { cluster, node }: NodeNames): string {
  return `spiffe://${domain}/cluster/${cluster}/node/${node}`;
}

const secondsOfDay = 86_400;

async function openDirectory(directory: string, trustDomain: TrustDomain): Promise<NodeCertificates> {
  const ca = await loadCa(directory).catch((error: unknown) => {
    const { code } = error as NodeJS.ErrnoException;
    const why = error instanceof TypeError ? error.message : `cannot be read (${code ?? "unknown error"})`;
    throw new ConfigError("certificates.ca", [
      `${directory}/ca.crt and ca.key: ${why}; 'claviger pki init' makes an authority`,
    ]);
  });
  if (ca.trustDomain !== trustDomain)
    throw new ConfigError("certificates.ca", [`${directory}/ca.crt is of the trust domain ${ca.trustDomain}`]);
  return {
    sign: (request, names, seconds) => certifyNode({ ca, request, ...names, validity: seconds / secondsOfDay }),
    async revocationList(serials) {
      const thisUpdate = new Date();
      const nextUpdate = new Date(thisUpdate.getTime() + secondsOfDay * 1000);
      return { pem: await createRevocationList({ issuer: ca, serials, thisUpdate, nextUpdate }), nextUpdate };
    },
  };
}

function wrong(why: string): KmsError {
  return new KmsError("backend_protocol_error", { cause: new Error(`a certificate ${why}`) });
}

/** The first of a chain must be for this key, and carry this name and no other. @throws KmsError */
function checkLeaf(chain: string, { publicKey }: SigningRequest, uri: string): void {
  let leaf: X509Certificate | undefined;
  try {
    [leaf] = splitPem(chain);
  } catch {
    throw wrong("that does not parse");
  }
  if (leaf === undefined) throw wrong("that is missing");
  if (!leaf.publicKey.export({ type: "spki", format: "der" }).equals(publicKey)) throw wrong("for another key");
  if (leaf.subjectAltName !== `URI:${uri}`) throw wrong(`with other names than ${uri}`);
  if (leaf.ca) throw wrong("that may sign others");
}

/**
 * @param pkiOf the PKI of a backend, by its name
 * @throws ConfigError when the authority cannot be used; a Vault may be away
 */
export async function openNodeCertificates({
  config,
  trustDomain,
  pkiOf,
}: {
  readonly config: CertificateAuthorityConfig;
  readonly trustDomain: TrustDomain;
  readonly pkiOf: (backend: string) => Pki;
}): Promise<NodeCertificates> {
  switch (config.kind) {
    case "directory":
      return await openDirectory(config.directory, trustDomain);
    case "vault": {
      const { backend, namespace, mount, role } = config;
      const pki = pkiOf(backend);
      return {
        async sign(request, names, seconds, signal) {
          const uri = nodeUri(trustDomain, names);
          const chain = await pki.signCertificate(
            { mount, role, ...(namespace !== undefined && { namespace }) },
            { request: request.pem, commonName: `${names.node} of ${names.cluster}`.slice(0, 64), uri, seconds },
            signal,
          );
          checkLeaf(chain, request, uri);
          return chain;
        },
      };
    }
  }
}
