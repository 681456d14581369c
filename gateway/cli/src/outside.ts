// What the system says of a connection, in words, with what to do about it. The code stays: it is what
// people look for.
import { readFileSync } from "node:fs";
import { describeHandshakeFailure, handshakeFailureOf } from "@claviger/proto/wire/handshakes.ts";
import { fileProblem } from "@claviger/proto/runtime/file-problem.ts";
import { CliError } from "./commander.ts";

const connections: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there; is it running, and is the address right?",
  ECONNRESET: "it broke off the connection; does it speak TLS there (https://), or is something else in between?",
  ENOTFOUND: "there is no host of that name; is the address right?",
  EAI_AGAIN: "the name server does not answer",
  EHOSTUNREACH: "there is no way to that address; a route or a firewall is missing",
  ENETUNREACH: "there is no way to that address; a route or a firewall is missing",
  ETIMEDOUT: "no connection comes about; a firewall, or the address is wrong",
  UND_ERR_CONNECT_TIMEOUT: "no connection comes about; a firewall, or the address is wrong",
  UND_ERR_SOCKET: "it closed the connection in the middle; is a proxy in between?",
  EPROTO: "it does not speak TLS there; is it http://?",
  ERR_SSL_WRONG_VERSION_NUMBER: "it does not speak TLS there; is it http://?",
  ERR_SSL_PACKET_LENGTH_TOO_LONG: "it does not speak TLS there; is it http://?",
};

/** Why a connection does not come about. @param code of the system, of undici or of OpenSSL */
export function connectionProblem(code: string): string {
  const words = connections[code];
  if (words !== undefined) return `${code}: ${words}`;
  const failure = handshakeFailureOf(code);
  return failure === undefined ? code : `${code}: ${describeHandshakeFailure(failure)}`;
}

/** The text of a file. @throws CliError */
export function readTextFile(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new CliError(`${file} cannot be read (${fileProblem(error)})`);
  }
}
