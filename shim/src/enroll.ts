// `claviger-shim enroll`: a token becomes a certificate. The key is made here and never leaves.
// (docs/architecture.md #enrollment.)
import { existsSync } from "node:fs";
import { chown, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomically } from "@claviger/proto/runtime/atomic-file.ts";
import { splitPem } from "@claviger/proto/runtime/certificates.ts";
import { ConfigError, isHttpsOrigin } from "@claviger/proto/runtime/config.ts";
import { readFileOf } from "@claviger/proto/runtime/pem-files.ts";
import { certificatePin } from "@claviger/proto/runtime/pins.ts";
import { callFleet, FleetError } from "./fleet-service.ts";
import { createSigningRequest, type NewKey } from "./signing-request.ts";

export type EnrollOptions = {
  /** Where the fleet service is, https://HOST:PORT. */
  readonly url: string;
  readonly tokenFile: string;
  /** `sha256:` and 64 hexadecimal digits: of the CA certificate that the service is verified by. */
  readonly caPin: string;
  /** Where node.pem and ca.pem go. */
  readonly dir: string;
  /** CLUSTER/NODE: who this node is; by the token where it is absent. */
  readonly name?: string | undefined;
  /** UID:GID of the user that the shim runs as, and whose the files become; who runs this when absent. */
  readonly owner?: string | undefined;
  /** Replace a node.pem that is there. */
  readonly force: boolean;
};

type Owner = { readonly uid: number; readonly gid: number };

export const pairFile = "node.pem";
export const caFile = "ca.pem";

/** Certificate and key in one file, which is replaced as a whole: one never stands beside another's other half. */
export async function writePair(file: string, certificate: string, { key }: NewKey, owner?: Owner): Promise<void> {
  await key.use((pem) => writeFileAtomically(file, `${certificate.trim()}\n${pem.trim()}\n`, 0o600, true, owner));
}

/** The directory is the shim's own: it replaces the pair in it. */
async function makeDirectory(dir: string, owner: Owner | undefined): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  if (owner !== undefined) await chown(dir, owner.uid, owner.gid);
}

function parseOwner(text: string | undefined, problems: string[]): Owner | undefined {
  if (text === undefined) return undefined;
  const [, uid, gid] = /^(\d{1,9}):(\d{1,9})$/.exec(text) ?? [];
  if (uid === undefined || gid === undefined) problems.push("--owner: must be UID:GID, such as 65532:65532");
  return { uid: Number(uid), gid: Number(gid) };
}

/** The certificates of a bundle that a pin names, PEM. @throws FleetError */
function pinned(bundle: string, pin: string): string {
  let pins: readonly (readonly [pin: string, pem: string])[];
  try {
    pins = splitPem(bundle).map((one) => [certificatePin(one), one.toString()]);
  } catch {
    pins = [];
  }
  const found = pins.filter(([own]) => own === pin.toLowerCase());
  if (found.length === 0)
    throw new FleetError(
      `the service has no CA with the pin ${pin}, but ${pins.map(([own]) => own).join(", ") || "none at all"}. ` +
        "Compare with what 'claviger node token' printed: a wrong pin may be somebody in between",
    );
  return found.map(([, pem]) => pem).join("");
}

/**
 * @returns what to do next, for the operator
 * @throws ConfigError with everything that is wrong with the options, FleetError
 */
export async function enroll({
  url,
  tokenFile,
  caPin,
  dir,
  name,
  owner: ownerText,
  force,
}: EnrollOptions): Promise<string> {
  const problems: string[] = [];
  const token = readFileOf("--token-file", tokenFile, problems)?.trim() ?? "";
  if (!isHttpsOrigin(url)) problems.push("--url: must be https://HOST:PORT");
  if (!/^sha256:[0-9a-fA-F]{64}$/.test(caPin)) problems.push("--ca-pin: must be sha256: and 64 hexadecimal digits");
  const owner = parseOwner(ownerText, problems);
  const [cluster = "", node = "", ...rest] = name === undefined ? [] : name.split("/");
  if (name !== undefined && (cluster === "" || node === "" || rest.length > 0))
    problems.push("--name: must be CLUSTER/NODE");
  const files = { pair: join(dir, pairFile), ca: join(dir, caFile) };
  if (!force && existsSync(files.pair))
    problems.push(`--dir: ${files.pair} is there already; with --force it is replaced`);
  if (problems.length > 0) throw new ConfigError("enroll", problems);

  // Of what an unknown end says only the certificate counts that has the pin.
  const { ca: offered } = await callFleet(url, "GetTrustBundle", {}, { ca: undefined });
  const made = createSigningRequest();
  const message = { token, certificateRequest: made.request, cluster, node };
  const enrolled = await callFleet(url, "EnrollNode", message, { ca: pinned(offered, caPin) });
  await makeDirectory(dir, owner);
  await writeFileAtomically(files.ca, enrolled.ca, 0o644, true, owner);
  await writePair(files.pair, enrolled.certificate, made, owner);
  const [leaf] = splitPem(enrolled.certificate);
  const gateways = enrolled.gateways.map((gateway) => `  - ${gateway}`).join("\n");
  return `${files.pair}  (mode 0600)
${files.ca}
  names  ${leaf?.subjectAltName ?? ""}
  until  ${leaf === undefined ? "" : new Date(leaf.validTo).toISOString()}

Next: these settings in shim.yaml, then 'claviger-shim --config FILE --check'.

gateways:
${gateways}
tls:
  cert: ${files.pair}
  key: ${files.pair}
  ca: ${files.ca}
renewal:
  url: ${new URL(url).origin}
`;
}
