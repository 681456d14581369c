// Another cluster's certificate, under the same Transit key.
import { readFileSync } from "node:fs";
import { decodeEnvelope } from "@claviger/gateway-core/src/key/envelope.ts";
import { associatedData } from "@claviger/gateway-core/src/key/key-id.ts";
import { backendName, type ClusterUid } from "@claviger/proto/wire/names.ts";
import { request } from "undici";
import { readToken, secretPath } from "../../lab/kubernetes.ts";
import { openThief } from "../../lab/thief.ts";
import { doesNotGet, gets, type Standing, succeeds, tried } from "../standing.ts";
import { openThrough, type Outcome } from "../tries.ts";
import type { Kept, World } from "../world.ts";

/** Asks Vault itself, as one who may do everything there. */
async function decryptInVault({ vault }: World, kept: Kept, uid: ClusterUid): Promise<Outcome> {
  const { keyId, wraps } = decodeEnvelope(kept.object.encryptedDekSource);
  const [wrap] = wraps;
  if (wrap === undefined) throw new Error("an envelope without a wrap");
  const bound = associatedData(uid, keyId, backendName.parse(wrap.backend));
  const answer = await request(`${vault.addr}/v1/${wrap.key.replace("/", "/decrypt/")}`, {
    method: "POST",
    headers: { "x-vault-token": readToken(vault.tokenFile) },
    body: JSON.stringify({
      ciphertext: `vault:v${wrap.version}:${Buffer.from(wrap.ciphertext).toString("base64")}`,
      associated_data: Buffer.from(bound).toString("base64"),
    }),
  });
  const json = (await answer.body.json()) as { data?: { plaintext: string } };
  if (answer.statusCode !== 200) return { result: `OpenBao answers ${answer.statusCode}`, succeeded: false };
  const seed = Buffer.from(json.data?.plaintext ?? "", "base64");
  return { result: "OpenBao answers 200, with the seed", succeeded: seed.equals(kept.seed) };
}

export async function otherCertificate(world: World): Promise<Standing> {
  const { lab, gateway, ours, others } = world;
  const pair = await lab.pki.node("cluster-2", "other");
  const loot = { ca: readFileSync(lab.pki.ca), cert: readFileSync(pair.cert), key: readFileSync(pair.key) };
  const [uid, otherUid] = [ours, others].map(({ object }) => decodeEnvelope(object.encryptedDekSource).clusterUid);
  if (uid === undefined || otherUid === undefined) throw new Error("no uids");
  const thief = openThief(gateway.url, loot);
  try {
    const own = await tried("Decrypt of the certificate's own cluster's value", () =>
      openThrough(thief, others, secretPath("other")),
    );
    const foreign = await tried("Decrypt of our value under the same Transit key", () =>
      openThrough(thief, ours, secretPath("taken")),
    );
    const control = await tried("our value at OpenBao itself with the root token, bound to our uid", () =>
      decryptInVault(world, ours, uid),
    );
    const bound = await tried("the same, bound to the other cluster's uid, as its gateway would ask", () =>
      decryptInVault(world, ours, otherUid),
    );
    return {
      holds: "another cluster's certificate",
      shown: [...gets(own), ...doesNotGet(foreign, bound), ...succeeds(control)],
    };
  } finally {
    await thief.close();
  }
}
