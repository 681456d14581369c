// The way from kube-apiserver's pod to the shim and to its EncryptionConfiguration: flag, mounts, files.
import { existsSync, realpathSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { type Check, CheckError, type Found } from "@claviger/proto/runtime/check.ts";
import { readChecked } from "../files.ts";
import { type ApiServerPod, type Mount, mountOf, onHost, readApiServer } from "./apiserver.ts";
import { type EncryptionConfig, readEncryptionConfig } from "./encryption-config.ts";
import { judgeEncryption } from "./encryption-judgement.ts";
import { accessOf, judgeAccess } from "./socket.ts";

const flag = "encryption-provider-config";

/** Where things are on this machine; what is undefined was not named. */
export type Places = {
  readonly manifest: string;
  /** Was the manifest named, or is it the place where one usually is? */
  readonly isManifestNamed: boolean;
  readonly encryptionConfig: string | undefined;
  readonly before: string | undefined;
  /** The shim's socket; undefined where its configuration cannot be read. */
  readonly socket: string | undefined;
};

/** The path itself where there is nothing. */
function real(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/** The path of a unix endpoint, as Go's net/url reads it. */
export function pathOfEndpoint(endpoint: string): string | undefined {
  return /^unix:\/\/(\/[^?#]*)$/.exec(endpoint)?.[1];
}

async function readManifest(check: Check, { manifest, isManifestNamed }: Places): Promise<ApiServerPod | undefined> {
  if (!isManifestNamed && !existsSync(manifest)) {
    const found = `there is no ${manifest}: give --manifest, or --encryption-config where kube-apiserver is no static pod`;
    for (const id of ["manifest", "flag", "config-mount", "socket-mount", "access"])
      check.add(`node.apiserver.${id}`, { verdict: "not tried", found });
    return undefined;
  }
  return await check.step("node.apiserver.manifest", () => ({
    found: manifest,
    value: readApiServer(manifest, readChecked(manifest)),
  }));
}

/** Where the EncryptionConfiguration that a pod reads is on this machine. */
async function findConfig(check: Check, pod: ApiServerPod): Promise<string | undefined> {
  const inPod = pod.flags.get(flag);
  if (inPod === undefined || inPod === "") {
    check.add("node.apiserver.flag", {
      verdict: "failed",
      found: `kube-apiserver has no --${flag}: nothing is encrypted`,
      cure: `add --${flag}=FILE and mount FILE ('claviger init' writes both)`,
    });
    check.add("node.apiserver.config-mount", { verdict: "not tried", found: `there is no --${flag}` });
    return undefined;
  }
  check.add("node.apiserver.flag", { verdict: "ok", found: `--${flag}=${inPod}` });
  return await check.step("node.apiserver.config-mount", (): Found<string> => {
    const mount = mountOf(pod.mounts, inPod);
    if (mount === undefined)
      throw new CheckError(
        `${inPod} lies in no hostPath of the pod`,
        "add a hostPath volume for its directory, and mount it readOnly",
      );
    const file = onHost(mount, inPod);
    if (!existsSync(file))
      throw new CheckError(
        `${file}, which the pod sees as ${inPod}, is not there`,
        "put the EncryptionConfiguration there",
      );
    return { found: `${file} is ${inPod} in the pod`, value: file };
  });
}

/** The directory and not the socket: each start of a shim makes another file. */
function judgeSocketMount(mounts: readonly Mount[], paths: readonly string[], socket: string): Found<true> {
  const seen = paths.flatMap((path) => {
    const mount = mountOf(mounts, path);
    return mount === undefined ? [] : [{ path, mount, file: onHost(mount, path) }];
  });
  const own = seen.find(({ file }) => real(dirname(file)) === real(dirname(socket)));
  if (own === undefined)
    throw new CheckError(
      `no mount of the pod leads from ${paths.join(", ") || "an endpoint"} to the socket's directory ${dirname(socket)}`,
      `add a hostPath volume { path: ${dirname(socket)}, type: Directory } and mount it at the same path`,
    );
  const { mount, path } = own;
  if (mount.inPod === path)
    throw new CheckError(
      `the pod mounts the socket itself, ${mount.onHost}: it loses it when the shim restarts`,
      `mount the directory ${dirname(socket)} instead`,
    );
  if (!existsSync(mount.onHost) || !statSync(mount.onHost).isDirectory())
    throw new CheckError(`${mount.onHost} is no directory of this machine`, "put claviger.conf into /etc/tmpfiles.d");
  return { found: `${mount.onHost} is ${mount.inPod} in the pod`, value: true };
}

async function readConfig(check: Check, file: string): Promise<EncryptionConfig | undefined> {
  return await check.step("node.encryption-config.readable", () => {
    const config = readEncryptionConfig(file, readChecked(file));
    return { found: `${file}: ${config.length} ${config.length === 1 ? "entry" : "entries"}`, value: config };
  });
}

/** Adds the rows about kube-apiserver's side. */
export async function checkApiServer(check: Check, places: Places): Promise<void> {
  const { encryptionConfig, socket, before } = places;
  const pod = await readManifest(check, places);
  const found = pod && (await findConfig(check, pod));
  const file = encryptionConfig ?? found;
  if (file === undefined) {
    check.add("node.encryption-config.readable", {
      verdict: "not tried",
      found: "no file is known; give --encryption-config",
    });
    return;
  }
  const config = await readConfig(check, file);
  if (config === undefined) return;
  const earlier = before === undefined ? undefined : await readConfig(check, before);
  const kms = config.flatMap(({ providers }) => providers.flatMap((one) => one.kms ?? []));
  const paths = kms.flatMap(({ endpoint }) => pathOfEndpoint(endpoint) ?? []);
  const seenAt = (path: string): string => {
    const mount = pod && mountOf(pod.mounts, path);
    return mount === undefined ? path : onHost(mount, path);
  };
  const isOurs = (endpoint: string): boolean => {
    const path = pathOfEndpoint(endpoint);
    return (
      path !== undefined &&
      socket !== undefined &&
      real(dirname(seenAt(path))) === real(dirname(socket)) &&
      path.split("/").at(-1) === socket.split("/").at(-1)
    );
  };
  for (const { id, ...finding } of judgeEncryption(config, { isOurs, socket: socket ?? "unknown", before: earlier }))
    check.add(id, finding);
  if (pod === undefined) return;
  if (socket === undefined)
    return check.add("node.apiserver.socket-mount", { verdict: "not tried", found: "the socket's path is not known" });
  await check.step("node.apiserver.socket-mount", () => judgeSocketMount(pod.mounts, paths, socket));
  await check.step("node.apiserver.access", () => judgeAccess(accessOf(socket), accessOf(dirname(socket)), pod));
}
