// What the system says of a file or of a connection, in words, with what to do about it. The code
// stays: it is what people look for.
import { readFileSync } from "node:fs";
import { describeHandshakeFailure, handshakeFailureOf } from "@claviger/proto/wire/handshakes.ts";
import { CliError } from "./commander.ts";

const files: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file or directory",
  EACCES: "this user may not; run this as one who may",
  EPERM: "this user may not; run this as one who may",
  ENOTDIR: "a part of its path is a file and no directory",
  EISDIR: "it is a directory; name a file",
  EEXIST: "there is something else at that path",
  ENOSPC: "the disk is full",
  EDQUOT: "the user's quota of the disk is used up",
  EROFS: "its file system is read-only",
  ELOOP: "its symbolic links form a loop",
  ENAMETOOLONG: "the name is too long",
  EMFILE: "this process has too many files open",
};

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

/** The code of a system's error; undefined for any other one. */
export function codeOf(error: unknown): string | undefined {
  const { code } = (error ?? {}) as NodeJS.ErrnoException;
  return typeof code === "string" ? code : undefined;
}

/** Why a file or directory cannot be read or written. */
export function fileProblem(error: unknown): string {
  const code = codeOf(error);
  if (code === undefined) return "unknown error";
  const words = files[code];
  return words === undefined ? code : `${code}: ${words}`;
}

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
