// What a gateway's answers and failures mean, as far as they can be trusted to mean anything.
// (docs/architecture.md #wire.)
import { X509Certificate } from "node:crypto";
import { checkServerIdentity, type PeerCertificate } from "node:tls";
import { create, fromBinary } from "@bufbuild/protobuf";
import { type StatusResponse, StatusResponseSchema } from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import {
  describeHandshakeFailure,
  type HandshakeFailure,
  handshakeFailureOf,
  parseHandshakeFailure,
} from "@claviger/proto/wire/handshakes.ts";
import { ReplyTooLarge } from "@claviger/proto/runtime/exchange.ts";
import { headers, kmsVersion, limits } from "@claviger/proto/wire/protocol.ts";

/** The value of a header that stands once. */
export function text(value: string | string[] | undefined): string | undefined {
  return typeof value === "string" ? value : undefined;
}

/** How old the word is that a Status passes on. A gateway of 0.1.0 names a time of its own clock. */
export function staleForMs(given: Readonly<Record<string, string | string[] | undefined>>): number | undefined {
  const [age, since] = [text(given[headers.staleFor]), text(given[headers.staleSince])];
  const milliseconds = age !== undefined ? Number(age) : since !== undefined ? Date.now() - Number(since) : undefined;
  return milliseconds === undefined || !Number.isFinite(milliseconds) ? undefined : Math.max(0, milliseconds);
}

/** Who does not accept whose certificate. */
export type HandshakeRefusal = { readonly by: "shim" | "gateway"; readonly failure: HandshakeFailure };

/** A gateway that cannot be reached, or something that is none. */
export function unavailable(why: string): KmsError {
  return new KmsError("gateway_unavailable", { cause: new Error(why) });
}

/** What is wrong with the shim's certificate at this moment, as far as the shim can tell. */
function ownFailure(cert: string): HandshakeFailure | undefined {
  const { validFrom, validTo } = new X509Certificate(cert);
  if (Date.parse(validTo) < Date.now()) return "certificate_expired";
  return Date.parse(validFrom) > Date.now() ? "certificate_not_yet_valid" : undefined;
}

/** Does a gateway's certificate carry one of these SPIFFE ids or DNS names? */
export function checkIdentities(
  identities: readonly string[],
  host: string,
  certificate: PeerCertificate,
): Error | undefined {
  const uris = (certificate.subjectaltname ?? "").split(", ");
  const isOne = identities.some((identity) =>
    identity.startsWith("spiffe://")
      ? uris.includes(`URI:${identity}`)
      : checkServerIdentity(identity, certificate) === undefined,
  );
  if (isOne) return undefined;
  return Object.assign(new Error(`the certificate of ${host} carries none of the identities that are configured`), {
    code: "ERR_TLS_CERT_ALTNAME_INVALID",
  });
}

/**
 * @param cert of the shim, PEM
 * @param onRefusal called for each handshake that one side refused
 */
export function createFailures(cert: string, onRefusal: (refusal: HandshakeRefusal) => void) {
  const refused = (refusal: HandshakeRefusal, detail: string): KmsError => {
    onRefusal(refusal);
    const { by, failure } = refusal;
    const what = by === "shim" ? "the gateway's certificate is refused" : "the gateway refuses this shim's certificate";
    return unavailable(`${what}: ${failure}, ${describeHandshakeFailure(failure)}${detail}`);
  };
  /** Only what kind of fault it was: undici's errors may hold on to the request. */
  const unreachable = (error: unknown): KmsError => {
    if (error instanceof KmsError) return error;
    if (error instanceof ReplyTooLarge) return unavailable("a reply that is too large");
    const { code, name } = error as NodeJS.ErrnoException;
    const failure = code === undefined ? undefined : handshakeFailureOf(code);
    // An alert says that the gateway refused.
    if (failure === "peer_refused" || failure === "no_certificate")
      return refused({ by: "gateway", failure }, ` (${code ?? ""})`);
    if (failure !== undefined) return refused({ by: "shim", failure }, ` (${code ?? ""})`);
    // A gateway of 0.1.0 closes the connection without a word.
    const own = code === "UND_ERR_SOCKET" || code === "ECONNRESET" ? ownFailure(cert) : undefined;
    return own === undefined ? unavailable(code ?? name) : refused({ by: "gateway", failure: own }, "");
  };
  /** What an answer without a reason of ours says: a gateway that lets nobody in, a proxy, a foreign server. */
  const foreign = (status: number, given: string | undefined): KmsError => {
    const failure = parseHandshakeFailure(given);
    return failure === undefined ? unavailable(`status ${status}`) : refused({ by: "gateway", failure }, "");
  };
  return { unreachable, foreign };
}

/**
 * A Status goes to kube-apiserver only if it would be accepted there. (docs/kms-contract.md section 1.2.)
 * @throws KmsError gateway_unavailable
 */
export function readStatus(body: Buffer): StatusResponse {
  let response: StatusResponse;
  try {
    response = fromBinary(StatusResponseSchema, body);
  } catch {
    throw new KmsError("gateway_unavailable", { cause: new Error("a Status that does not parse") });
  }
  const { version, healthz, keyId } = response;
  if (version !== kmsVersion || keyId === "" || Buffer.byteLength(keyId) > limits.keyId)
    throw new KmsError("gateway_unavailable", { cause: new Error("a Status that kube-apiserver would refuse") });
  // One line, at most 256 bytes: it stands in /readyz and in logs.
  return healthz === "ok"
    ? response
    : create(StatusResponseSchema, {
        version,
        keyId,
        healthz: healthz.replaceAll(/[^\x20-\x7e]/g, " ").slice(0, 256) || "not ok",
      });
}
