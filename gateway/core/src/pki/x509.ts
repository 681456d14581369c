// Makes and signs X.509 certificates: ECDSA P-256, SHA-256. The only file that imports
// @peculiar/x509 (which needs reflect-metadata's side effect first). Who gets which names and uses
// is decided in authority.ts.
import "reflect-metadata";
import { createPrivateKey, createPublicKey, KeyObject, randomBytes, webcrypto } from "node:crypto";
import { isIP } from "node:net";
import { Secret } from "@claviger/proto/runtime/secret.ts";
import * as x509 from "@peculiar/x509";

/** A certificate and its private key, both PEM; the key is PKCS#8. */
export type KeyPair = { readonly cert: string; readonly key: Secret };

export type Names = { readonly uri: string; readonly dns?: readonly string[]; readonly ips?: readonly string[] };

export type CertificateRequest = {
  /** Subject common name. For people: identity is in the SAN alone. */
  readonly commonName: string;
  readonly names: Names;
  readonly use: "ca" | "server" | "client";
  /** Of a CA: how many CAs may stand between it and a leaf; none when absent. */
  readonly pathLength?: number;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** Absent: self-signed. */
  readonly issuer?: KeyPair;
};

const algorithm = { name: "ECDSA", namedCurve: "P-256" } as const;
const signingAlgorithm = { name: "ECDSA", hash: "SHA-256" } as const;

/** X.520's upper bound for a common name. */
const commonNameLength = 64;

/**
 * RFC 5280 section 4.1.2.2: positive, at most 20 octets; 127 random bits keep it unpredictable and
 * unique.
 */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString("hex");
}

function subjectAltName({ uri, dns = [], ips = [] }: Names): x509.SubjectAlternativeNameExtension {
  for (const ip of ips) if (isIP(ip) === 0) throw new TypeError("an IP name must be an IPv4 or IPv6 address");
  return new x509.SubjectAlternativeNameExtension([
    { type: "url", value: uri },
    ...dns.map((value) => ({ type: "dns", value }) as const),
    ...ips.map((value) => ({ type: "ip", value }) as const),
  ]);
}

function usages({ use, pathLength = 0 }: CertificateRequest): readonly x509.Extension[] {
  if (use === "ca")
    return [
      new x509.BasicConstraintsExtension(true, pathLength, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
    ];
  return [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension([
      use === "server" ? x509.ExtendedKeyUsage.serverAuth : x509.ExtendedKeyUsage.clientAuth,
    ]),
  ];
}

function importSigningKey(key: Secret): Promise<webcrypto.CryptoKey> {
  return key.use((pem) =>
    webcrypto.subtle.importKey(
      "pkcs8",
      createPrivateKey(pem).export({ type: "pkcs8", format: "der" }),
      algorithm,
      false,
      ["sign"],
    ),
  );
}

/**
 * A certificate for a key, PEM.
 * @param privateKey signs where there is no issuer
 */
async function certify(
  request: CertificateRequest,
  publicKey: webcrypto.CryptoKey,
  privateKey?: webcrypto.CryptoKey,
): Promise<string> {
  const issuer = request.issuer === undefined ? undefined : new x509.X509Certificate(request.issuer.cert);
  const signingKey = request.issuer === undefined ? privateKey : await importSigningKey(request.issuer.key);
  if (signingKey === undefined) throw new TypeError("a certificate needs an issuer or its own private key");
  const subject = [{ CN: [request.commonName.slice(0, commonNameLength)] }];
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject,
    issuer: issuer?.subjectName ?? subject,
    notBefore: request.notBefore,
    notAfter: request.notAfter,
    publicKey,
    signingKey,
    signingAlgorithm,
    extensions: [
      ...usages(request),
      subjectAltName(request.names),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer?.publicKey ?? publicKey),
    ],
  });
  return `${certificate.toString("pem")}\n`;
}

/** Makes a key and a certificate for it. */
export async function createCertificate(request: CertificateRequest): Promise<KeyPair> {
  const { publicKey, privateKey } = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const cert = await certify(request, publicKey, privateKey);
  const key = KeyObject.from(privateKey).export({ type: "pkcs8", format: "pem" });
  return { cert, key: new Secret(key.toString()) };
}

/** What somebody wants a certificate for. */
export type SigningRequest = {
  /** PEM, as it came. */
  readonly pem: string;
  /** Subject public key info, DER. */
  readonly publicKey: Buffer;
  /** URI names that it asks for. */
  readonly uris: readonly string[];
};

/** @param spki subject public key info, DER */
function isOnP256(spki: Buffer): boolean {
  try {
    return (
      createPublicKey({ key: spki, format: "der", type: "spki" }).asymmetricKeyDetails?.namedCurve === "prime256v1"
    );
  } catch {
    return false;
  }
}

/** RFC 5280 section 4.2.1.6. */
const subjectAltNameOid = "2.5.29.17";
/** A request that is longer than this is none of ours. */
const requestLength = 8192;

/** What stands in a request; each part of it may be none, down to the names. @throws TypeError */
function parseRequest(pem: string) {
  try {
    const request = new x509.Pkcs10CertificateRequest(pem);
    const extensions = request.getExtensions(subjectAltNameOid);
    const names = extensions.flatMap(({ rawData }) => new x509.SubjectAlternativeNameExtension(rawData).names.items);
    return { request, publicKey: Buffer.from(request.publicKey.rawData), names };
  } catch {
    throw new TypeError("this is no certificate request (PKCS #10, PEM)");
  }
}

/**
 * Reads a PKCS #10 request (RFC 2986), and verifies that whoever made it has the key: ECDSA on P-256.
 * @throws TypeError that says what is wrong with it
 */
export async function readSigningRequest(pem: string): Promise<SigningRequest> {
  if (pem.length > requestLength)
    throw new TypeError(`a certificate request must have at most ${requestLength} characters`);
  const { request, publicKey, names } = parseRequest(pem);
  if (!isOnP256(publicKey)) throw new TypeError("the key of a certificate request must be of ECDSA on P-256");
  if (!(await request.verify().catch(() => false)))
    throw new TypeError("the certificate request is not signed by the key that it is for");
  const uris = names.filter(({ type }) => type === "url").map(({ value }) => value);
  if (uris.length !== names.length) throw new TypeError("a certificate request may name URIs and nothing else");
  return { pem, publicKey, uris };
}

/** A request of a key that is thrown away, to see whether somebody signs it; it names nobody. */
export async function createTrialRequest(): Promise<SigningRequest> {
  const keys = await webcrypto.subtle.generateKey(algorithm, false, ["sign", "verify"]);
  const request = await x509.Pkcs10CertificateRequestGenerator.create({ keys, signingAlgorithm });
  return await readSigningRequest(request.toString("pem"));
}

/** Certifies the key of a request, PEM. */
export async function certifyRequest(
  { publicKey }: SigningRequest,
  request: CertificateRequest & { readonly issuer: KeyPair },
): Promise<string> {
  return await certify(
    request,
    await webcrypto.subtle.importKey("spki", Uint8Array.from(publicKey), algorithm, true, ["verify"]),
  );
}

/** RFC 5280 section 5.2.3. */
const crlNumberOid = "2.5.29.20";

/** An ASN.1 INTEGER of up to six bytes, DER. */
function derInteger(value: number): Buffer {
  const bytes = Buffer.alloc(7);
  bytes.writeUIntBE(value, 1, 6);
  const first = bytes.findIndex((byte) => byte !== 0);
  // A first bit that is set would be a sign.
  const from = first < 0 ? 6 : (bytes[first] ?? 0) >= 0x80 ? first - 1 : first;
  return Buffer.concat([Buffer.from([2, 7 - from]), bytes.subarray(from)]);
}

/**
 * A list of certificates that are revoked (RFC 5280 section 5), PEM. Its number is the Unix second of `thisUpdate`.
 * @param serials hexadecimal
 */
export async function createRevocationList({
  issuer,
  serials,
  thisUpdate,
  nextUpdate,
}: {
  readonly issuer: KeyPair;
  readonly serials: readonly string[];
  readonly thisUpdate: Date;
  readonly nextUpdate: Date;
}): Promise<string> {
  const { subjectName, publicKey } = new x509.X509Certificate(issuer.cert);
  const list = await x509.X509CrlGenerator.create({
    issuer: subjectName,
    thisUpdate,
    nextUpdate,
    entries: [...new Set(serials)].map((serialNumber) => ({ serialNumber, revocationDate: thisUpdate })),
    extensions: [
      await x509.AuthorityKeyIdentifierExtension.create(publicKey),
      new x509.Extension(crlNumberOid, false, derInteger(Math.floor(thisUpdate.getTime() / 1000))),
    ],
    signingKey: await importSigningKey(issuer.key),
    signingAlgorithm,
  });
  // RFC 7468 section 6; the package's own label is one that OpenSSL does not know.
  return `${x509.PemConverter.encode(list.rawData, "X509 CRL")}\n`;
}

/** Does this private key belong to this certificate? False for anything that is not a key. */
export function isKeyOf(key: Secret, certPublicKey: KeyObject): boolean {
  return key.use((pem) => {
    try {
      return createPublicKey(pem).equals(certPublicKey);
    } catch {
      return false;
    }
  });
}
