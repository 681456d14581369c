// Whose request it is: the peer's own certificate, or the one that a listed proxy vouches for.
// (docs/architecture.md #identity.)
import type { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import type { TrustDomain } from "@claviger/proto/wire/names.ts";
import { isFor } from "@claviger/proto/runtime/certificates.ts";
import { parseForwarded } from "./forwarded.ts";
import { expiryOf, findPath, issuersOf, isValidAt, type Path } from "@claviger/gateway-core/src/pki/trust.ts";
import { type Identity, readIdentity, readUri } from "@claviger/gateway-core/src/identity.ts";

/**
 * @param forwarded the x-forwarded-client-cert header; counts only when the peer is a listed proxy
 * @throws KmsError identity_invalid
 */
export type Identifier = (socket: TLSSocket, forwarded: string | string[] | undefined) => Identity;

type Peer =
  | { readonly kind: "client"; readonly identity: Identity }
  | {
      readonly kind: "proxy";
      /** Unix milliseconds */
      readonly notAfter: number;
    };

/** Forwarded certificates that are remembered; parsing one costs more than the rest of a Status. */
const rememberedMax = 1024;

function invalid(why: string): KmsError {
  return new KmsError("identity_invalid", { cause: new Error(why) });
}

/**
 * @param trustedProxies URI SANs of the proxies that may speak for others
 * @param clientCa the CAs that sign clients: a forwarded certificate must be signed by one of
 * it, whatever the proxy checked
 */
export function createIdentifier(
  trustDomain: TrustDomain,
  trustedProxies: readonly string[],
  clientCa: () => readonly X509Certificate[],
): Identifier {
  const peers = new WeakMap<TLSSocket, Peer>();
  let remembered = new Map<string, Identity>();
  let rememberedUnder = clientCa();

  const whoIs = (certificate: X509Certificate, path: Path | undefined): Identity => {
    const identity = readIdentity(certificate, trustDomain);
    return path === undefined
      ? identity
      : { ...identity, notAfter: expiryOf(path), issuers: issuersOf(path, clientCa()) };
  };
  const isProxy = (certificate: X509Certificate): boolean => trustedProxies.includes(readUri(certificate));

  const readPeer = (socket: TLSSocket): Peer => {
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined || !socket.authorized) throw invalid("no client certificate that verifies");
    if (isProxy(certificate)) return { kind: "proxy", notAfter: Date.parse(certificate.validTo) };
    return { kind: "client", identity: whoIs(certificate, findPath(certificate, clientCa())) };
  };

  // The last element is the word of the proxy that is connected to us. Where that one's client is a
  // listed proxy as well, the element before is the word of that one.
  const readVouched = (header: string): Identity => {
    const elements = parseForwarded(header);
    if (elements === undefined) throw invalid("an x-forwarded-client-cert that Envoy would not write");
    let proxiesUntil = Number.POSITIVE_INFINITY;
    for (const element of elements.toReversed()) {
      if (element === undefined) throw invalid("a forwarded client certificate that is missing or does not parse");
      const { certificate, sent } = element;
      const path = findPath(certificate, clientCa(), sent);
      if (path === undefined) throw invalid("a forwarded client certificate of another CA");
      if (!isFor("client", certificate)) throw invalid("a forwarded certificate that is not a client certificate");
      if (!isValidAt(path, Date.now())) throw invalid("a forwarded client certificate that is not valid now");
      proxiesUntil = Math.min(proxiesUntil, expiryOf(path));
      if (!isProxy(certificate)) return { ...whoIs(certificate, path), notAfter: proxiesUntil };
    }
    throw invalid("a proxy that names no client");
  };

  const vouchedFor = (header: string): Identity => {
    const authorities = clientCa();
    if (authorities !== rememberedUnder || remembered.size >= rememberedMax) remembered = new Map();
    rememberedUnder = authorities;
    const known = remembered.get(header);
    if (known !== undefined) return known;
    const identity = readVouched(header);
    remembered.set(header, identity);
    return identity;
  };

  return (socket, forwarded) => {
    let peer = peers.get(socket);
    if (peer === undefined) {
      peer = readPeer(socket);
      peers.set(socket, peer);
    }
    // A connection may outlive its certificate; a request may not.
    if (peer.kind === "proxy" && peer.notAfter < Date.now()) throw invalid("the proxy's certificate has expired");
    if (peer.kind === "proxy" && typeof forwarded !== "string") throw invalid("a proxy that names no client");
    const identity = peer.kind === "client" ? peer.identity : vouchedFor(String(forwarded));
    if (identity.notAfter < Date.now()) throw invalid("the certificate has expired");
    return identity;
  };
}
