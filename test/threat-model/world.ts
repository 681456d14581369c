// Claviger as the threat model looks at it: the lab, with two clusters under one Transit key, a Secret
// of each, and the control planted in every process.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { createKmsClient } from "@claviger/cli/src/kms-client.ts";
import { createApiserver } from "../demo/apiserver.ts";
import { decodeStored, type StoredObject } from "../demo/stored.ts";
import { providerName } from "../lab/encryption.ts";
import type { LabGateway, LabShim } from "../lab/fleet.ts";
import { kmsClient } from "../lab/kms.ts";
import { type ApiServer, type Etcd, secretPath } from "../lab/kubernetes.ts";
import { type Lab, startLab } from "../lab/lab.ts";
import type { OpenBao } from "../lab/openbao.ts";
import type { RedisServer } from "../lab/redis.ts";
import { plantControl, writeSecret } from "./control-plane.ts";
import { type Control, newValue, textOf } from "./search.ts";

const root = join(import.meta.dirname, "..", "..");

/** A Secret, the seed that encrypts it, and what lies in etcd of it. */
export type Kept = {
  readonly value: Buffer;
  readonly seed: Buffer;
  readonly stored: Buffer;
  readonly object: StoredObject;
};

export type World = {
  readonly dir: string;
  readonly lab: Lab;
  readonly api: ApiServer;
  readonly etcd: Etcd;
  readonly vault: OpenBao;
  readonly redis: RedisServer;
  readonly gateway: LabGateway;
  /** A node of cluster-1 and one of cluster-2. */
  readonly shim: LabShim;
  readonly otherShim: LabShim;
  readonly control: Control;
  readonly ours: Kept;
  readonly others: Kept;
  stop(): Promise<void>;
};

/** A program with the control among its environment, so in its memory. */
function holding(control: Control, ...path: readonly string[]): readonly string[] {
  return ["/usr/bin/env", `CONTROL=${textOf(control)}`, process.execPath, join(root, ...path)];
}

async function seedOf({ encryptedDekSource, keyId }: StoredObject, { socket }: LabShim): Promise<Buffer> {
  const kms = kmsClient(socket);
  try {
    return await kms.decrypt({ ciphertext: encryptedDekSource, keyId });
  } finally {
    kms.close();
  }
}

function there<T>(part: T | undefined): T {
  if (part === undefined) throw new Error("the lab lacks a part");
  return part;
}

/** As kube-apiserver of cluster-2 would keep it; there is one etcd and one kube-apiserver in the lab, those of cluster-1. */
async function keepOther(shim: LabShim): Promise<Kept> {
  const kms = createKmsClient({ socket: shim.socket });
  try {
    const value = newValue();
    const apiserver = createApiserver({ kms, provider: providerName });
    await apiserver.poll();
    const stored = Buffer.from(apiserver.write(secretPath("other"), value));
    const object = decodeStored(stored);
    return { value, stored, object, seed: await seedOf(object, shim) };
  } finally {
    kms.close();
  }
}

async function keepOurs(api: ApiServer, etcd: Etcd, shim: LabShim): Promise<Kept> {
  const value = newValue();
  await writeSecret(api, "taken", value);
  const stored = there(await etcd.get(secretPath("taken")));
  const object = decodeStored(stored);
  return { value, stored, object, seed: await seedOf(object, shim) };
}

/** @param dir at most 64 characters: unix sockets lie in it */
export async function startWorld(dir: string, control: Control, signal?: AbortSignal): Promise<World> {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const lab = await startLab({
    dir,
    clusters: 2,
    shims: 2,
    sharedKey: true,
    kubernetes: true,
    programs: {
      gateway: holding(control, "gateway", "server", "src", "main.ts"),
      shim: holding(control, "shim", "src", "main.ts"),
    },
    ...(signal !== undefined && { signal }),
  });
  try {
    const [api, etcd, vault] = [there(lab.kubernetes[0]), there(lab.etcd), there(lab.vault)];
    const [shim, otherShim] = [there(lab.shims[0]), there(lab.shims[1])];
    await plantControl(api, control);
    // OpenBao keeps its table of mounts in memory, descriptions with it.
    await vault.call("POST", "sys/mounts/control", { type: "kv", description: textOf(control) });
    const parts = { dir, lab, api, etcd, vault, shim, otherShim, control };
    return {
      ...parts,
      redis: there(lab.redis),
      gateway: there(lab.gateways[0]),
      ours: await keepOurs(api, etcd, shim),
      others: await keepOther(otherShim),
      stop: () => lab.stop(),
    };
  } catch (error) {
    await lab.stop();
    throw error;
  }
}
