// Whose request it is: the peer's own certificate, or the one that a listed proxy vouches for.
// (docs/architecture.md #identity.)
import { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import type { TrustDomain } from "@claviger/proto/wire/names.ts";
import { findPath } from "./trust.ts";
import { type Identity, readIdentity, readUri } from "@claviger/gateway-core/src/identity.ts";

/**
 * @param forwarded the x-forwarded-client-cert header; counts only when the peer is a listed proxy
 * @throws KmsError identity_invalid
 */
export type Identifier = (socket: TLSSocket, forwarded: string | string[] | undefined) => Identity;

type Peer = { readonly kind: "client"; readonly identity: Identity } | { readonly kind: "proxy" };

/** Forwarded certificates that are remembered; parsing one costs more than the rest of a Status. */
const rememberedMax = 1024;

function invalid(why: string): KmsError {
  return new KmsError("identity_invalid", { cause: new Error(why) });
}

/**
 * The certificate of the one client in a header as Envoy writes it:
 * `Hash=...;Cert="<percent-encoded PEM>";URI=...`.
 */
function readForwarded(header: string): X509Certificate {
  // A comma joins what several proxies said, outermost first: there is one between the client and
  // us, or none.
  const found = [...header.matchAll(/(?:^|;)Cert="([A-Za-z0-9%+/=._~-]+)"/g)];
  if (found.length !== 1 || header.includes(","))
    throw invalid("a forwarded client certificate that is missing or not the only one");
  try {
    return new X509Certificate(decodeURIComponent(found[0]?.[1] ?? ""));
  } catch {
    throw invalid("a forwarded client certificate that does not parse");
  }
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

  const readPeer = (socket: TLSSocket): Peer => {
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined || !socket.authorized) throw invalid("no client certificate that verifies");
    return trustedProxies.includes(readUri(certificate))
      ? { kind: "proxy" }
      : { kind: "client", identity: readIdentity(certificate, trustDomain) };
  };

  const readVouched = (header: string): Identity => {
    const authorities = clientCa();
    if (authorities !== rememberedUnder || remembered.size >= rememberedMax) remembered = new Map();
    rememberedUnder = authorities;
    const known = remembered.get(header);
    if (known !== undefined) return known;
    const certificate = readForwarded(header);
    if (findPath(certificate, authorities) === undefined) throw invalid("a forwarded client certificate of another CA");
    if (Date.parse(certificate.validFrom) > Date.now())
      throw invalid("a forwarded client certificate that is not valid yet");
    const identity = readIdentity(certificate, trustDomain);
    remembered.set(header, identity);
    return identity;
  };

  return (socket, forwarded) => {
    let peer = peers.get(socket);
    if (peer === undefined) {
      peer = readPeer(socket);
      peers.set(socket, peer);
    }
    if (peer.kind === "proxy" && typeof forwarded !== "string") throw invalid("a proxy that names no client");
    const identity = peer.kind === "client" ? peer.identity : readVouched(String(forwarded));
    // A connection may outlive its certificate; a request may not.
    if (identity.notAfter < Date.now()) throw invalid("the certificate has expired");
    return identity;
  };
}
