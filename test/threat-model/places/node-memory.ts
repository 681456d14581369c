// The shim's memory, root on a node, the shim's socket.
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type KmsClient, kmsClient } from "../../lab/kms.ts";
import { type Evidence, searchFor } from "../evidence.ts";
import { memoryOf } from "../search.ts";
import { nodeFiles, type Spoils, within } from "../spoils.ts";
import { doesNotGet, gets, type Standing, tried } from "../standing.ts";
import { type Outcome, sealedOf } from "../tries.ts";
import type { Kept, World } from "../world.ts";
import { freeze } from "../../lab/freeze.ts";

/**
 * Holds a call up on its way, with a known seed in it: OpenBao does not answer meanwhile.
 * @param search called with the seed, again while it finds nothing: nothing tells when shim and
 * gateway have it
 */
export async function whileInTransit(
  { vault, shim }: World,
  search: (seed: Buffer) => readonly Evidence[],
): Promise<readonly Evidence[]> {
  const { pid } = vault.proc();
  const kms = kmsClient(shim.socket);
  const seed = randomBytes(32);
  freeze(pid);
  try {
    const call = kms.encrypt(seed, 20_000);
    let found: readonly Evidence[] = [];
    const isThere = async (): Promise<boolean> => {
      found = search(seed);
      return found[0]?.succeeded === true;
    };
    await sleep(200);
    await within(10_000, isThere);
    process.kill(pid, "SIGCONT");
    await call;
    return found;
  } finally {
    process.kill(pid, "SIGCONT");
    kms.close();
  }
}

async function decryptAt(kms: KmsClient, kept: Kept): Promise<Outcome> {
  try {
    const seed = await kms.decrypt(sealedOf(kept));
    return { result: "served, with the seed", succeeded: seed.equals(kept.seed) };
  } catch (error) {
    return { result: `refused: ${(error as { details?: string }).details ?? String(error)}`, succeeded: false };
  }
}

export async function shimMemory(world: World, { credentials, transitKeys }: Spoils): Promise<Standing> {
  const { shim, control } = world;
  const { keyLine } = nodeFiles(world);
  const place = memoryOf("memory of the shim", shim.proc.pid);
  const found = await whileInTransit(world, (seed) =>
    searchFor(
      place,
      [
        { what: "a seed on its way through", bytes: seed },
        { what: "the node's key", bytes: keyLine },
        ...credentials,
        ...transitKeys,
      ],
      control,
    ),
  );
  return { holds: "the shim's memory", shown: [...gets(...found.slice(0, 2)), ...doesNotGet(...found.slice(2))] };
}

export async function nodeRoot({ api, shim, control, ours, others }: World): Promise<Standing> {
  const sought = [
    { what: "this cluster's Secret", bytes: ours.value },
    { what: "its seed", bytes: ours.seed },
    { what: "another cluster's Secret", bytes: others.value },
    { what: "another cluster's seed", bytes: others.seed },
  ];
  const apiserver = searchFor(memoryOf("memory of kube-apiserver", api.proc().pid), sought, control);
  const beside = searchFor(memoryOf("memory of the shim", shim.proc.pid), sought.slice(2), control);
  return {
    holds: "root on a running control-plane node",
    shown: [...gets(...apiserver.slice(0, 2)), ...doesNotGet(...apiserver.slice(2), ...beside)],
  };
}

export async function unixSocket({ shim, ours, others }: World): Promise<Standing> {
  const kms = kmsClient(shim.socket);
  try {
    const encrypted: Evidence = await tried("Encrypt at the socket", async () => {
      const { ciphertext } = await kms.encrypt(randomBytes(32));
      return { result: "served", succeeded: ciphertext.length > 0 };
    });
    const decrypted = await tried("Decrypt of this cluster's etcd value", () => decryptAt(kms, ours));
    const foreign = await tried("Decrypt of another cluster's value under the same Transit key", () =>
      decryptAt(kms, others),
    );
    return { holds: "the unix socket", shown: [...gets(encrypted, decrypted), ...doesNotGet(foreign)] };
  } finally {
    kms.close();
  }
}
