// The PEM files of a TLS setting: read, and held against each other.
import { readFileSync } from "node:fs";
import { problemOfBundle, problemOfPair, problemOfSuccessor } from "./certificates.ts";
import { ConfigError } from "./config.ts";

/**
 * The text of a file that a setting names; undefined where it cannot be read, which is added to the
 * problems.
 * @param setting as messages call it
 */
export function readFileOf(setting: string, file: string, problems: string[]): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const { code = "unknown error" } = error as NodeJS.ErrnoException;
    problems.push(`${setting}: ${file} cannot be read (${code})`);
    return undefined;
  }
}

/** The files of one TLS setting, or their texts; a CA bundle is called one or the other. */
export type PemFiles = Readonly<Partial<Record<"cert" | "key" | "ca" | "clientCa", string>>>;

/**
 * Reads a certificate, its key and a CA bundle.
 * @param files by the names of their settings; what may be left out there may be left out here
 * @param side what the certificate is shown as
 * @param at stands before the settings in messages: "" or "tls."
 * @param inUse the certificate that is to be replaced, PEM: one of another identity is refused
 * @returns their texts, under the same names
 * @throws ConfigError with every one that cannot be read or used
 */
export function readPemFiles<Files extends PemFiles>(
  files: Files,
  {
    side,
    at = "",
    inUse,
  }: { readonly side: "server" | "client"; readonly at?: string; readonly inUse?: string | undefined },
): Files {
  const problems: string[] = [];
  const texts: { -readonly [Name in keyof PemFiles]: PemFiles[Name] } = {};
  for (const name of ["cert", "key", "ca", "clientCa"] as const) {
    const file = files[name];
    const text = file === undefined ? undefined : readFileOf(`${at}${name}`, file, problems);
    if (text !== undefined) texts[name] = text;
  }
  const add = (name: keyof PemFiles, problem: string | undefined): void => {
    if (problem !== undefined) problems.push(`${at}${name}: ${files[name] ?? ""} ${problem}`);
  };
  const { cert, key } = texts;
  for (const name of ["ca", "clientCa"] as const) {
    const bundle = texts[name];
    if (bundle !== undefined) add(name, problemOfBundle(bundle));
  }
  const pair = cert === undefined || key === undefined ? undefined : problemOfPair(side, cert, key);
  if (pair !== undefined) add(pair.file, pair.text);
  else if (cert !== undefined && inUse !== undefined) add("cert", problemOfSuccessor(inUse, cert));
  if (problems.length > 0) throw new ConfigError("tls", problems);
  // Without a problem each file that was named has its text.
  return texts as Files;
}
