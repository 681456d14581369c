// `claviger-shim --check`: what a start would try, all of it, by the same functions, and what each
// gateway says to this node. A shim that serves the socket meanwhile is not disturbed.
import { randomBytes, randomUUID } from "node:crypto";
import { accessSync, constants, existsSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { dirname } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { EncryptRequestSchema, EncryptResponseSchema } from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import {
  type Check,
  CheckError,
  type CheckRow,
  createCheck,
  type Finding,
  type Found,
} from "@claviger/proto/runtime/check.ts";
import { peerOfUrl, withPeerExpiry } from "@claviger/proto/runtime/check-peer.ts";
import { checkCertificates, checkSecretFiles } from "@claviger/proto/runtime/check-files.ts";
import { steadyNow } from "@claviger/proto/runtime/clock.ts";
import { silentLog } from "@claviger/proto/runtime/log.ts";
import { checkTracing } from "@claviger/proto/runtime/open-tracing.ts";
import { checkPorts, type Own } from "@claviger/proto/runtime/ports.ts";
import { zeroize } from "@claviger/proto/runtime/secret.ts";
import { adviceFor } from "@claviger/proto/wire/advice.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import type { ShimConfig } from "./config.ts";
import { createGateway, type Gateway } from "./gateway.ts";
import { bindBeside, giveBack, occupantOf, SocketError } from "./socket.ts";
import { createStateFile } from "./state-file.ts";
import { certificateRoles, type Credentials, readCredentials } from "./tls.ts";

/** An Encrypt is answered within that, or not in time for kube-apiserver; milliseconds. */
const askMs = 3000;

async function tryPath({ path, mode, group }: ShimConfig["socket"], setUmask: (mask: number) => number) {
  const occupant = await occupantOf(path);
  const server = createServer();
  const own = await bindBeside(server, { path, mode: Number.parseInt(mode, 8), group }, setUmask);
  await giveBack(server, own);
  return occupant;
}

async function trySocket(socket: ShimConfig["socket"], setUmask: (mask: number) => number): Promise<Found<true>> {
  const { path, mode, group } = socket;
  const occupant = await tryPath(socket, setUmask).catch((error: unknown) => {
    throw error instanceof SocketError ? new CheckError(error.message) : error;
  });
  const more: Finding[] = [];
  if (occupant === "live")
    more.push({
      verdict: "note",
      found: "a process serves it: stop that one before a start, or start with --takeover",
    });
  const dir = dirname(path);
  if ((statSync(dir).mode & 0o002) !== 0)
    more.push({
      verdict: "warning",
      found: `every user of this machine may put another socket into ${dir}`,
      cure: `chmod o-w ${dir}`,
    });
  const place =
    occupant === "dead" ? "a dead socket is there, which a start replaces" : "its directory can be written to";
  const who = group === undefined ? "" : `, group ${group}`;
  return { found: `${path}, mode ${mode}${who}; ${place}`, value: true, more };
}

async function checkTls(check: Check, tls: ShimConfig["tls"]): Promise<Credentials | undefined> {
  const credentials = await check.step("tls", () => {
    const read = readCredentials(tls);
    return { found: `certificate, key and CA can be read and fit together: a node of ${read.cluster}`, value: read };
  });
  if (credentials !== undefined)
    await checkCertificates(
      check,
      certificateRoles(() => credentials.tls),
    );
  await checkSecretFiles(check, [{ setting: "tls.key", file: tls.key }]);
  return credentials;
}

/**
 * An Encrypt, and no Status: gateways keep which key_id a Status has told a node, as evidence that its
 * kube-apiserver knows it.
 */
async function askToEncrypt(gateway: Gateway, signal: AbortSignal): Promise<Found<boolean>> {
  const plaintext = randomBytes(32);
  const body = toBinary(EncryptRequestSchema, create(EncryptRequestSchema, { plaintext, uid: randomUUID() }));
  zeroize(plaintext);
  try {
    const reply = await gateway.ask({ method: "encrypt", body, deadline: steadyNow() + askMs, hedge: false }, signal);
    const { keyId } = fromBinary(EncryptResponseSchema, reply.body);
    return { found: `it encrypts for this cluster, key_id ${keyId}`, value: true };
  } catch (error) {
    // One of another cell in the list is no reason not to start, where another one serves.
    const isElsewhere = error instanceof KmsError && error.reason === "cluster_not_served";
    if (!isElsewhere) throw error;
    const found = "it serves other clusters, and not this one";
    return { found: "", value: false, more: [{ verdict: "warning", found, cure: adviceFor(error.reason) }] };
  } finally {
    zeroize(body);
  }
}

/** @returns false where it serves other clusters */
async function checkGateway(check: Check, url: string, { tls }: Credentials): Promise<boolean> {
  const gateway = createGateway(
    url,
    tls,
    () => undefined,
    () => {},
  );
  try {
    const isThere = await check.step(`gateway ${url}`, async (signal) => {
      await gateway.probe(signal);
      const found = { found: "connected; each side accepts the other's certificate", value: true };
      const { cert, key } = tls;
      return await withPeerExpiry(found, [{ ...peerOfUrl(url), cert, key }], signal);
    });
    const isServed =
      isThere === true
        ? await check.step(`gateway ${url} cluster`, (signal) => askToEncrypt(gateway, signal))
        : undefined;
    return isServed !== false;
  } finally {
    // Waits for a connection that does not come about, too.
    void gateway.destroy();
  }
}

/** @throws CheckError where no file can be made beside this one */
function tryBeside(file: string): void {
  const dir = dirname(file);
  try {
    accessSync(dir, constants.W_OK | constants.X_OK);
  } catch (error) {
    const { code = "unknown error" } = error as NodeJS.ErrnoException;
    throw new CheckError(`${dir} cannot be written to (${code})`, "make it, or give it to the shim's user");
  }
}

function tryRenewal(file: string): Found<true> {
  tryBeside(file);
  return { found: `${file} can be replaced by the next certificate`, value: true };
}

function tryStateFile(file: string, cluster: string): Found<true> {
  tryBeside(file);
  if (!existsSync(file)) return { found: `${file} is made with the first good Status`, value: true };
  const last = createStateFile(file, cluster, silentLog).load();
  if (last !== undefined) return { found: `${file} has the last key_id: ${last.keyId}`, value: true };
  const found = `${file} is damaged, not readable, or another cluster's; a start goes on without it`;
  return { found: "", value: true, more: [{ verdict: "warning", found, cure: "move it away" }] };
}

/**
 * Tries everything at once, each step with a time of its own.
 * @param warnings of the configuration
 * @param own this process: what a port may be held by
 * @param setUmask process.umask: sets the mask and returns the earlier one
 */
export async function checkShim(
  config: ShimConfig,
  {
    warnings,
    own,
    setUmask,
  }: {
    readonly warnings: readonly string[];
    readonly own: Own;
    readonly setUmask: (mask: number) => number;
  },
): Promise<readonly CheckRow[]> {
  const local = createCheck();
  local.add("configuration", { verdict: "ok", found: "every setting can be read" });
  for (const found of warnings) local.add("configuration", { verdict: "warning", found });
  await local.step("socket", () => trySocket(config.socket, setUmask));
  await checkPorts(local, [{ setting: "health", ...config.health }], own);
  const credentials = await checkTls(local, config.tls);
  if (config.renewal !== undefined) await local.step("renewal", () => tryRenewal(config.tls.cert));
  const gateways = config.gateways.map((url) => ({ url, check: createCheck() }));
  const rest = createCheck();
  const [, ...mayServe] = await Promise.all([
    checkTracing(rest, config.tracing),
    ...gateways.map(async ({ url, check }) => {
      if (credentials !== undefined) return await checkGateway(check, url, credentials);
      check.add(`gateway ${url}`, { verdict: "not tried", found: "there is no certificate to show it" });
      return true;
    }),
  ]);
  if (!mayServe.includes(true))
    rest.add("gateways", {
      verdict: "failed",
      found: "none of them serves this cluster",
      cure: adviceFor("cluster_not_served"),
    });
  if (credentials !== undefined)
    await rest.step("state file", () =>
      tryStateFile(config.stateFile ?? `${config.socket.path}.state`, credentials.cluster),
    );
  return [local, ...gateways.map(({ check }) => check), rest].flatMap((check) => check.rows());
}
