// Kubernetes' own choices without a KMS: no encryption, or a key in a file on the node.
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { localKeyConfiguration } from "../../lab/encryption.ts";
import {
  lookAtDisk,
  lookAtRunning,
  plantControl,
  startControlPlane,
  type Stake,
  writeSecret,
} from "../control-plane.ts";
import type { Row } from "../row.ts";
import { type Control, newValue } from "../search.ts";

type Site = { readonly dir: string; readonly control: Control };

async function rowOf(
  { dir, control }: Site,
  { name, setUp, key, encryption }: { name: string; setUp: string; key?: Buffer; encryption?: string },
): Promise<Row> {
  const plane = await startControlPlane({ dir, ...(encryption !== undefined && { encryption }) });
  try {
    const value = newValue();
    await plantControl(plane.api, control);
    await writeSecret(plane.api, "taken", value);
    const stake: Stake = {
      control,
      secrets: [{ what: "the Secret", bytes: value }],
      keys: key === undefined ? [] : [{ what: "the key", bytes: key }],
    };
    const running = await lookAtRunning(plane, dir, stake);
    return {
      name,
      setUp,
      cells: {
        ...running,
        disk: lookAtDisk(plane, join(dir, "logs"), stake),
        kmsServer: { kind: "absent", why: "there is none" },
      },
    };
  } finally {
    await plane.stop();
  }
}

export async function noEncryption(site: Site): Promise<Row> {
  return await rowOf(site, { name: "No encryption", setUp: "kube-apiserver without an EncryptionConfiguration." });
}

export async function localKey(site: Site, kind: "aescbc" | "secretbox"): Promise<Row> {
  const key = randomBytes(32);
  return await rowOf(site, {
    name: `Local key (\`${kind}\`)`,
    setUp: `kube-apiserver with a key of \`${kind}\` in its EncryptionConfiguration, a file on the control-plane node.`,
    key,
    encryption: localKeyConfiguration(kind, key),
  });
}
