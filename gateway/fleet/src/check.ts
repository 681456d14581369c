// `claviger-fleet --check`: what a start would try, and what its first calls would, all of it. Leaves nothing behind
// but a certificate of half a minute whose key is gone: whether the PKI signs, is known by signing.
import { accessSync, constants, existsSync } from "node:fs";
import { dirname } from "node:path";
import { splitPem } from "@claviger/proto/runtime/certificates.ts";
import { type Check, CheckError, type CheckRow, createCheck, type Found } from "@claviger/proto/runtime/check.ts";
import { checkCertificates, checkSecretFiles } from "@claviger/proto/runtime/check-files.ts";
import { codeOf } from "@claviger/proto/runtime/file-problem.ts";
import { checkPorts, type Own } from "@claviger/proto/runtime/ports.ts";
import { zeroize } from "@claviger/proto/runtime/secret.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { clusterName, nodeName } from "@claviger/proto/wire/names.ts";
import { checkAuditSinks } from "@claviger/gateway-core/src/audit/check.ts";
import { type CheckedBackend, checkBackend } from "@claviger/gateway-core/src/backend/check.ts";
import { openNodeCertificates } from "@claviger/gateway-core/src/pki/node-certificates.ts";
import { findPath } from "@claviger/gateway-core/src/pki/trust.ts";
import { createTrialRequest } from "@claviger/gateway-core/src/pki/x509.ts";
import { integrityKey } from "@claviger/gateway-core/src/key/integrity.ts";
import { checkRedis } from "@claviger/gateway-core/src/redis/check.ts";
import { documentOf } from "@claviger/gateway-core/src/registry/vault.ts";
import { secretFilesOf } from "@claviger/gateway-core/src/secret-files.ts";
import { dependencyRoles, listenerRoles, readTlsFiles, type TlsFiles } from "@claviger/gateway-core/src/tls-files.ts";
import type { FleetConfig } from "./config.ts";
import { checkConsole } from "./pages/check.ts";
import { openRegistryEditor } from "./open-registry.ts";
import { createTokenDocuments } from "./tokens.ts";
import { readTrustBundle } from "./trust-bundle.ts";

type Checked = ReadonlyMap<string, CheckedBackend>;
type Part = { readonly kind: string; readonly backend?: string };

/** Signed for nobody: there is no such cluster. */
const nobody = { cluster: clusterName.parse("claviger-check"), node: nodeName.parse("check") };
const trialSeconds = 30;

const pkiCure =
  "claviger vault init --for fleet --dry-run compares mount, CA and role with what the service needs, and the policy";

const needsToken = { verdict: "not tried", found: "its backend has no token" } as const;

async function checkTls(check: Check, config: FleetConfig): Promise<TlsFiles | undefined> {
  const files = await check.step("tls", () => {
    const read = readTlsFiles(config.tls);
    return { found: "certificate, key and client CAs can be read and fit together", value: read };
  });
  if (files === undefined) check.add("trust bundle", { verdict: "not tried", found: "tls is not usable" });
  else
    await check.step("trust bundle", () => {
      const { pin } = readTrustBundle(config.certificates.trustBundle, files.cert);
      return { found: `nodes verify this service by ${pin}`, value: true };
    });
  const own = files === undefined ? [] : listenerRoles(() => files);
  await checkCertificates(check, [...own, ...dependencyRoles(config)]);
  await checkSecretFiles(check, secretFilesOf(config));
  return files;
}

/** What a backend that can be asked has of a kind; undefined, with a row, where it cannot. */
function partOf<Name extends "documents" | "pki">(
  check: Check,
  row: string,
  { backend = "" }: Part,
  name: Name,
  checked: Checked,
): CheckedBackend["backend"][Name] | undefined {
  const found = checked.get(backend)?.backend[name];
  if (found === undefined) check.add(row, needsToken);
  return found;
}

async function checkRegistry(check: Check, { registry }: FleetConfig, checked: Checked): Promise<void> {
  const documents = registry.kind === "vault" ? partOf(check, "registry", registry, "documents", checked) : undefined;
  if (registry.kind === "vault" && documents === undefined) return;
  await check.step("registry", async () => {
    const editor = openRegistryEditor(registry, () => documents as NonNullable<typeof documents>);
    const { size } = await editor.all("empty");
    const found = `${size} ${size === 1 ? "cluster" : "clusters"} read`;
    if (registry.kind === "vault") return { found, value: true };
    const place = registry.kind === "file" ? registry.file : registry.directory;
    if (existsSync(place)) return { found, value: true };
    tryWritable(dirname(place));
    const warning = {
      verdict: "warning",
      found: `there is no ${place}: it is made with the first cluster, and until then no gateway starts that reads it`,
      cure: "correct the path in registry, or add the first cluster: claviger cluster add CLUSTER",
    } as const;
    return { found: "", value: true, more: [warning] };
  });
}

/** @throws CheckError */
function tryWritable(directory: string): void {
  try {
    accessSync(directory, constants.W_OK | constants.X_OK);
  } catch (error) {
    const why = `${directory} cannot be written to (${codeOf(error) ?? "unknown error"})`;
    throw new CheckError(why, "make it, or give it to the service's user");
  }
}

/** A directory that is made with the first token, or one that takes files. */
function tryDirectory(directory: string): Found<true> {
  const isThere = existsSync(directory);
  tryWritable(isThere ? directory : dirname(directory));
  return { found: isThere ? `${directory} can be written to` : `${directory} is made at the start`, value: true };
}

async function checkTokens(check: Check, { tokens }: FleetConfig, checked: Checked): Promise<void> {
  if (tokens.kind === "directory") {
    await check.step("tokens", () => tryDirectory(tokens.directory));
    return;
  }
  const documents = partOf(check, "tokens", tokens, "documents", checked);
  if (documents === undefined) return;
  await check.step("tokens", async (signal) => {
    const store = createTokenDocuments(documents, documentOf(tokens));
    await store.read("0".repeat(64), signal);
    return { found: `${tokens.mount}/${tokens.path} can be read`, value: true };
  });
}

async function checkApprovals(check: Check, { approvals }: FleetConfig, checked: Checked): Promise<void> {
  if (approvals === undefined) return;
  const { store } = approvals;
  if (store.kind === "directory") {
    await check.step("approvals", () => tryDirectory(store.directory));
    return;
  }
  const documents = partOf(check, "approvals", store, "documents", checked);
  if (documents === undefined) return;
  await check.step("approvals", async (signal) => {
    const waiting = await documents.listDocuments(documentOf(store), signal);
    return { found: `${store.mount}/${store.path} can be listed; ${waiting.length} there`, value: true };
  });
}

/** What gateways have signed in Redis is believed under the integrity key alone. */
async function checkIntegrity(check: Check, { integrity }: FleetConfig, checked: Checked): Promise<void> {
  if (integrity === undefined) return;
  const signer = checked.get(integrity.backend)?.backend;
  if (signer === undefined) return check.add("integrity", needsToken);
  await check.step("integrity", async (signal) => {
    zeroize(await integrityKey(signer, integrity, signal));
    return { found: `${integrity.mount}/${integrity.key} version ${integrity.version} signs`, value: true };
  });
}

async function checkAuthority(
  check: Check,
  { certificates: { ca }, trustDomain }: FleetConfig,
  checked: Checked,
  files: TlsFiles | undefined,
): Promise<void> {
  const row = "certificates of nodes";
  const pki = ca.kind === "vault" ? partOf(check, row, ca, "pki", checked) : undefined;
  if (ca.kind === "vault" && pki === undefined) return;
  await check.step(row, async (signal) => {
    const pkiOf = (): NonNullable<typeof pki> => pki as NonNullable<typeof pki>;
    const certificates = await openNodeCertificates({ config: ca, trustDomain, pkiOf });
    const request = await createTrialRequest();
    const chain = await certificates.sign(request, nobody, trialSeconds, signal).catch((error: unknown) => {
      if (!(error instanceof KmsError) || !(error.cause instanceof Error)) throw error;
      throw new CheckError(`${error.cause.message} (${error.reason})`, pkiCure);
    });
    const [leaf, ...above] = splitPem(chain);
    const trusted = files === undefined ? [] : splitPem(files.clientCa);
    const where = ca.kind === "vault" ? `${ca.mount}/sign/${ca.role}` : ca.directory;
    if (files !== undefined && (leaf === undefined || findPath(leaf, trusted, above) === undefined))
      throw new CheckError(
        `${where} signs with a CA that is not in tls.clientCa: no node could renew its certificate`,
        "add that CA to tls.clientCa here, and to that of the gateways",
      );
    return { found: `${where} signs; tried with a name of no cluster, for ${trialSeconds} s`, value: true };
  });
}

async function checkStores(check: Check, config: FleetConfig, files: Promise<TlsFiles | undefined>): Promise<void> {
  const found = await Promise.all(
    Object.entries(config.backends).map(
      async ([name, backend]) => [name, await checkBackend(check, name, backend)] as const,
    ),
  );
  const checked: Checked = new Map(found.flatMap(([name, one]) => (one === undefined ? [] : [[name, one] as const])));
  try {
    await checkRegistry(check, config, checked);
    await checkTokens(check, config, checked);
    await checkApprovals(check, config, checked);
    await checkIntegrity(check, config, checked);
    await checkAuthority(check, config, checked, await files);
  } finally {
    await Promise.all([...checked.values()].map((backend) => backend.end()));
  }
}

/**
 * Tries everything at once, each step with a time of its own.
 * @param own this process: what a port may be held by
 * @param pages where those of the console are where the configuration does not say it
 */
export async function checkFleet(
  config: FleetConfig,
  { file, own, pages }: { readonly file: string; readonly own: Own; readonly pages: string },
): Promise<readonly CheckRow[]> {
  type Checks = [Check, Check, Check, Check, Check, Check, Check];
  const checks = Array.from({ length: 7 }, () => createCheck());
  const [settings, listeners, tls, redis, stores, audit, site] = checks as Checks;
  settings.add("configuration", { verdict: "ok", found: `${file} can be read` });
  const files = checkTls(tls, config);
  const { listen, admin } = config;
  await Promise.all([
    checkPorts(
      listeners,
      [
        { setting: "listen", ...listen },
        { setting: "admin", ...admin },
      ],
      own,
    ),
    files,
    checkStores(stores, config, files),
    checkAuditSinks(audit, config.audit.sinks),
    checkConsole(site, config, pages),
  ]);
  // By itself: Redis is given little time, and this process may be busy for longer.
  if (config.redis !== undefined) await checkRedis(redis, config.redis);
  return checks.flatMap((check) => check.rows());
}
