// Rows of --check about certificates and about who may read secret files.
import type { X509Certificate } from "node:crypto";
import { statSync } from "node:fs";
import type { Check, Finding, Found } from "./check.ts";
import { type CertificateRole, describeExpiry, judgeCertificates } from "./expiry.ts";

/** The names of a certificate, or its subject where it has none. */
function namesOf({ subjectAltName, subject }: X509Certificate): string {
  return (subjectAltName ?? subject ?? "no name").replaceAll(/\s+/g, " ").slice(0, 256);
}

/** The common name in the subject of somebody, or all that is said of them. */
function commonName(subject: string, longest: number): string {
  return (/^CN=(.*)$/m.exec(subject)?.[1] ?? subject.replaceAll(/\s+/g, " ")).slice(0, longest);
}

/** Whoever signed it. */
function issuerOf({ issuer }: X509Certificate): string {
  return commonName(issuer, 128);
}

function isSignedBy(signed: X509Certificate, issuer: X509Certificate): boolean {
  return signed.checkIssued(issuer) && signed.verify(issuer.publicKey);
}

/** A file must hold each certificate after the one that it signed, or the other side cannot follow. */
function chainProblem(chain: readonly X509Certificate[]): Finding | undefined {
  const broken = chain.findIndex((signed, i) => {
    const next = chain[i + 1];
    return next !== undefined && !isSignedBy(signed, next);
  });
  if (broken === -1) return undefined;
  return {
    verdict: "failed",
    found: `the file's certificate ${broken + 2} did not sign the one before it, which ${issuerOf(chain[broken] as X509Certificate)} signed`,
    cure: "put into the file the certificate itself first, then each issuer in turn",
  };
}

const levels = { ok: "ok", expiring: "warning", invalid: "failed" } as const;

function find(role: CertificateRole, now: number): Found<true> {
  const state = judgeCertificates(role, now);
  const [first, ...others] = role.read();
  if (first === undefined) return { found: "", value: true, more: [{ verdict: "failed", found: state.text }] };
  const who =
    role.kind === "chain"
      ? `${namesOf(first)}; signed by ${issuerOf(first)}`
      : [first, ...others].map(({ subject }) => commonName(subject, 64)).join(", ");
  const cure = state.level === "ok" ? undefined : "renew it, and have it renewed before a third of its life is left";
  const problem = role.kind === "chain" ? chainProblem([first, ...others]) : undefined;
  const text = `${who}; ${describeExpiry(state)}`;
  const finding: Finding = { verdict: levels[state.level], found: text, cure };
  return { found: "", value: true, more: [finding, ...(problem === undefined ? [] : [problem])] };
}

/**
 * Adds a row for each: names, chain, and how long it is valid.
 * @param now Unix milliseconds
 */
export async function checkCertificates(
  check: Check,
  roles: readonly CertificateRole[],
  now: number = Date.now(),
): Promise<void> {
  await Promise.all(roles.map((role) => check.step(`certificate ${role.role}`, () => find(role, now))));
}

/** A file that holds a secret, and the setting that names it. */
export type SecretFile = { readonly setting: string; readonly file: string };

function modeOf(file: string): number | undefined {
  try {
    return statSync(file).mode;
  } catch {
    // One that cannot be read has a row where it is used.
    return undefined;
  }
}

/** A path as one word of a shell. */
function shellWord(path: string): string {
  return /[^\w./@+:-]/.test(path) ? `'${path.replaceAll("'", String.raw`'\''`)}'` : path;
}

/** Adds a row: may others than the owner and the group read or change a secret? */
export async function checkSecretFiles(check: Check, files: readonly SecretFile[]): Promise<void> {
  if (files.length === 0) return;
  await check.step("secret files", () => {
    const modes = files.flatMap(({ setting, file }) => {
      const mode = modeOf(file);
      return mode === undefined ? [] : [{ setting, file, mode }];
    });
    const more = modes
      .filter(({ mode }) => (mode & 0o007) !== 0)
      .map(({ setting, file, mode }): Finding => {
        const octal = (mode & 0o777).toString(8).padStart(4, "0");
        return {
          verdict: "warning",
          found: `${setting}: every user of this machine may ${(mode & 0o004) === 0 ? "change" : "read"} ${file} (mode ${octal})`,
          cure: `chmod o= ${shellWord(file)}`,
        };
      });
    const found =
      more.length > 0 ? "" : `${modes.length} ${modes.length === 1 ? "file" : "files"}, for their owner and group only`;
    return { found, value: true, more };
  });
}
