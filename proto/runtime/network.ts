// Why a connection could not be made, in words: the same in every program's log, /readyz and --check.
import { describeHandshakeFailure, handshakeFailureOf } from "../wire/handshakes.ts";

const words: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there (ECONNREFUSED)",
  ECONNRESET: "it broke off the connection (ECONNRESET)",
  UND_ERR_SOCKET: "it broke off the connection (UND_ERR_SOCKET)",
  ENOTFOUND: "its name is not known (ENOTFOUND)",
  EAI_AGAIN: "the name server does not answer (EAI_AGAIN)",
  EHOSTUNREACH: "there is no way to its address (EHOSTUNREACH)",
  ENETUNREACH: "there is no way to its network (ENETUNREACH)",
  ETIMEDOUT: "it does not answer a connection (ETIMEDOUT)",
  UND_ERR_CONNECT_TIMEOUT: "it does not answer a connection (UND_ERR_CONNECT_TIMEOUT)",
  EPIPE: "it broke off the connection (EPIPE)",
};

const cures: Readonly<Record<string, string>> = {
  ECONNREFUSED: "start it, or correct its address and port",
  ENOTFOUND: "correct the name, or give the name server its record",
  EAI_AGAIN: "see why this machine's name server does not answer",
  EHOSTUNREACH: "see the route and the firewalls between here and there",
  ENETUNREACH: "see the route and the firewalls between here and there",
  ETIMEDOUT: "see the firewalls between here and there",
  UND_ERR_CONNECT_TIMEOUT: "see the firewalls between here and there",
  certificate_expired: "renew the certificate",
  certificate_not_yet_valid: "set the clock that is wrong",
  unknown_ca: "name the CA that signed the certificate, and have its intermediates sent along",
  ca_expired: "renew the CA",
  wrong_name: "give the address by a name that the certificate carries, or configure the name that it does carry",
  wrong_purpose: "issue a certificate for this side",
  no_certificate: "configure a certificate and its key",
  protocol: "see whether both ends speak TLS, and which versions",
};

/** What a system's or a TLS library's code means; undefined for one that says nothing of a connection. */
export function describeConnection(code: string): string | undefined {
  if (Object.hasOwn(words, code)) return words[code];
  const failure = handshakeFailureOf(code);
  return failure === undefined ? undefined : `${describeHandshakeFailure(failure)} (${code})`;
}

/** What to do about it, by the same code or the name of a handshake's failure; undefined where nobody can say. */
export function cureOfConnection(code: string): string | undefined {
  const name = handshakeFailureOf(code) ?? code;
  return Object.hasOwn(cures, name) ? cures[name] : undefined;
}
