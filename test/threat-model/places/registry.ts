// Write access to the registry, and the key of the CA.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { createCa, issueNode } from "@claviger/gateway-core/src/pki/authority.ts";
import { parse, stringify } from "yaml";
import { trustDomain } from "../../lab/fleet.ts";
import { kmsClient } from "../../lab/kms.ts";
import { secretPath } from "../../lab/kubernetes.ts";
import { gatewayPolicy } from "../../lab/openbao.ts";
import { openThief } from "../../lab/thief.ts";
import { searchFor } from "../evidence.ts";
import { filesOf } from "../search.ts";
import { nodeFiles, type Spoils, within } from "../spoils.ts";
import { doesNotGet, gets, type Standing, tried } from "../standing.ts";
import { openThrough, operator, type Outcome, sealedOf, withThief } from "../tries.ts";
import type { World } from "../world.ts";

function edit({ lab }: World, change: (text: string) => string): void {
  const before = readFileSync(lab.registry, "utf8");
  const after = change(before);
  if (after === before) throw new Error("an edit that changes nothing");
  writeFileSync(lab.registry, after);
}

async function served(status: () => Promise<string>): Promise<Outcome> {
  const is = await within(5000, async () => (await status()) === "ok");
  return { result: is ? "served again" : "refused", succeeded: is };
}

async function usesKey(world: World): Promise<Outcome> {
  const { vault, otherShim } = world;
  await vault.call("POST", "transit/keys/second", { type: "aes256-gcm96" });
  await vault.call("PUT", "sys/policies/acl/claviger-gateway", { policy: gatewayPolicy(["shared", "second"]) });
  const kms = kmsClient(otherShim.socket);
  try {
    const { keyId } = await kms.status();
    edit(world, (text) => {
      const registry = parse(text) as { clusters: { name: string; keys: { key: string }[]; generation?: number }[] };
      const clusters = registry.clusters.map((record) =>
        record.name === "cluster-2"
          ? {
              ...record,
              keys: record.keys.map((key) => ({ ...key, key: "second" })),
              previousKeys: record.keys,
              generation: (record.generation ?? 0) + 1,
            }
          : record,
      );
      return stringify({ ...registry, clusters });
    });
    const is = await within(10_000, async () => (await kms.status().catch(() => ({ keyId }))).keyId !== keyId);
    return { result: is ? "another key_id" : "the same key_id", succeeded: is };
  } finally {
    kms.close();
  }
}

/** A gateway ends such a connection, or names the handshake's failure. */
async function withoutCertificate({ gateway, lab, ours }: World): Promise<Outcome> {
  const thief = openThief(gateway.url, { ca: readFileSync(lab.pki.ca) });
  try {
    const { reason, plaintext } = await thief.decrypt(sealedOf(ours)).catch(() => ({
      reason: "connection ended",
      plaintext: undefined,
    }));
    return {
      result: plaintext === undefined ? `refused: \`${reason}\`` : "served",
      succeeded: plaintext !== undefined,
    };
  } finally {
    await thief.close();
  }
}

export async function registryWriter(world: World): Promise<Standing> {
  const { gateway, lab, ours } = world;
  const thief = openThief(gateway.url, nodeFiles(world).loot);
  try {
    await operator(world, "cluster", "suspend", "cluster-1");
    const suspended = await tried("`state: suspended` of a cluster is made `active`: Status of its node", () => {
      edit(world, (text) => text.replace("state: suspended", "state: active"));
      return served(() => thief.status());
    });
    await operator(world, "node", "revoke", "cluster-1/node-1");
    const revoked = await tried("a revoked node is taken out of its list: Status of that node", () => {
      edit(world, (text) => text.replace("node-1", "node-x"));
      return served(() => thief.status());
    });
    const rekeyed = await tried("a cluster's key is made another that gateways may use: Status", () => usesKey(world));
    const anonymous = await tried("Decrypt of a cluster's etcd value without a certificate", () =>
      withoutCertificate(world),
    );
    const ca = await createCa({ trustDomain });
    const pair = await issueNode({ ca, cluster: "cluster-1", node: "node-1" });
    const forged = await withThief(gateway.url, { ca: readFileSync(lab.pki.ca), pair }, (stranger) =>
      tried("the same with a certificate of one's own making", () => openThrough(stranger, ours, secretPath("taken"))),
    );
    return {
      holds: "write access to the registry",
      shown: [...gets(suspended, revoked, rekeyed), ...doesNotGet(anonymous, forged)],
    };
  } finally {
    await thief.close();
  }
}

export async function caKey(world: World, { transitKeys, credentials }: Spoils): Promise<Standing> {
  const { gateway, lab, dir, control, ours, others } = world;
  const pair = await issueNode({ ca: lab.pki.authority, cluster: "cluster-1", node: "anybody" });
  const opened = await withThief(gateway.url, { ca: readFileSync(lab.pki.ca), pair }, (thief) =>
    tried("a certificate is made for a cluster's node that there is not: Decrypt of its etcd value", () =>
      openThrough(thief, ours, secretPath("taken")),
    ),
  );
  const found = searchFor(
    filesOf("the CA's folder with all that it has signed", [dirname(lab.pki.ca)], control, `${dir}/logs`),
    [
      ...transitKeys,
      ...credentials,
      { what: "a seed", bytes: ours.seed },
      { what: "another seed", bytes: others.seed },
    ],
    control,
  );
  return { holds: "the CA's key", shown: [...gets(opened), ...doesNotGet(...found)] };
}
