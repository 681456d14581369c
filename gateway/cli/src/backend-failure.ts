// What a backend of the keys said to a command, as one line: which one and where, what is wrong, and
// what to do. The error table's sentences are for users of a cluster; an operator stands before the
// backend itself.
import type { BackendConfig } from "@claviger/gateway-core/src/backend/config.ts";
import { NotVaultsWord } from "@claviger/gateway-core/src/backend/vault/answers.ts";
import { MountMissing } from "@claviger/gateway-core/src/backend/vault/client.ts";
import { handshakeFailureOf } from "@claviger/proto/wire/handshakes.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { CliError, isInWords } from "./commander.ts";
import { codeOf, fileProblem } from "@claviger/proto/runtime/file-problem.ts";
import { connectionProblem } from "./outside.ts";
import { VaultRefusal } from "./vault/control.ts";

/** A backend as a command has it. */
export type Place = {
  readonly name: string;
  readonly config: BackendConfig;
  /** Where its CA is set, e.g. a setting and its file. */
  readonly caSetting: string;
  /** Where the operator's token came from; undefined where none is needed. */
  readonly token: string | undefined;
};

function nameOf({ name, config }: Place): string {
  return config.kind === "vault"
    ? `Vault at ${config.addresses.join(", ")} (backend ${name})`
    : `the key file ${config.file} (backend ${name})`;
}

function causeOf({ cause }: KmsError): string {
  return cause instanceof Error ? cause.message : "no cause is known";
}

/** What to do where its certificate is not accepted. */
function trustAdvice({ config, caSetting }: Place): string {
  const tls = config.kind === "vault" ? config.tls : undefined;
  return tls?.ca === undefined
    ? `no CA is set: name the file of the CA that signed it, ${caSetting}`
    : `${tls.ca} does not hold the CA that signed it: correct ${caSetting}`;
}

function unreachable(error: KmsError, place: Place): string {
  const { cause } = error;
  const what = nameOf(place);
  if (place.config.kind === "embedded") return `${what} cannot be used: ${embeddedCause(cause)}`;
  if (cause instanceof MountMissing)
    return `${what} has nothing mounted there (${causeOf(error)}); correct the mount in the registry, or make it: claviger vault init`;
  if (cause instanceof NotVaultsWord)
    return `${what}: what answers is not an active Vault (${causeOf(error)}); is the address that of a proxy, or has its cluster no leader?`;
  const [code = ""] = causeOf(error).split(":");
  const problem = /^[A-Z][A-Z\d_]+$/.test(code) ? connectionProblem(code) : causeOf(error);
  const failure = handshakeFailureOf(code);
  const cure = failure === "unknown_ca" ? `; ${trustAdvice(place)}` : "";
  return `${what} cannot be reached: ${problem}${cure}`;
}

function embeddedCause(cause: unknown): string {
  if (codeOf(cause) !== undefined) return fileProblem(cause);
  return cause instanceof Error ? cause.message : "unknown error";
}

function refused(error: KmsError, place: Place): string {
  const what = nameOf(place);
  switch (error.reason) {
    case "backend_unavailable":
      return unreachable(error, place);
    case "backend_login_refused":
      return `${what} does not know your token (${place.token ?? "none"}): it has expired, was revoked, or is of another Vault; log in again (vault login, bao login)`;
    case "backend_denied":
      return `${what} refuses your token (${place.token ?? "none"}): its policies lack a right (${causeOf(error)}); claviger vault init --print-operator-policies prints those that operators need`;
    case "backend_sealed":
      return `${what} is sealed; unseal it: bao operator unseal, or vault operator unseal`;
    case "backend_rate_limited":
      return `${what} limits the rate${error.retryAfterMs === undefined ? "" : ` for another ${Math.ceil(error.retryAfterMs / 1000)} s`}; run this again later, or raise its quota`;
    case "backend_protocol_error":
      return `${what} gave an answer that Vault does not give (${causeOf(error)}); does something else listen there?`;
    case "key_missing":
      return `${what} has no such key, or no such version of it (${causeOf(error)}); claviger vault init makes the keys that the registry names`;
    case "key_unusable":
      return `${what} has a key that cannot be used: ${causeOf(error)}`;
    case "request_malformed":
      return `${what} does not take the request (${causeOf(error)})`;
    default:
      return `${what}: ${error.message.replace(/^claviger: /, "")} (${error.reason})`;
  }
}

/** The error for the operator; what is in words already stays as it is. */
export function inWords(error: unknown, place: Place): unknown {
  if (isInWords(error)) return error;
  if (error instanceof VaultRefusal) return new CliError(`${nameOf(place)}: ${error.message}`);
  if (error instanceof KmsError) return new CliError(refused(error, place));
  if (error instanceof Error && error.name === "TimeoutError")
    return new CliError(`${nameOf(place)} does not answer in time; is it overloaded, or has its cluster no leader?`);
  return error;
}
