// A dump or backup of etcd.
import { decodeEnvelope } from "@claviger/gateway-core/src/key/envelope.ts";
import { withSnapshot } from "../control-plane.ts";
import { searchFor } from "../evidence.ts";
import { secretPath } from "../../lab/kubernetes.ts";
import { filesWithControl } from "../search.ts";
import type { Spoils } from "../spoils.ts";
import { doesNotGet, gets, type Standing, tried } from "../standing.ts";
import type { World } from "../world.ts";

export async function etcdDump(world: World, { transitKeys, credentials }: Spoils): Promise<Standing> {
  const { etcd, dir, control, ours } = world;
  const envelope = decodeEnvelope(ours.object.encryptedDekSource);
  const open = [
    { what: "the name of a Secret", bytes: Buffer.from(secretPath("taken")) },
    { what: "the cluster's uid", bytes: Buffer.from(envelope.clusterUid) },
    { what: "the key_id", bytes: Buffer.from(envelope.keyId) },
  ];
  const closed = [
    { what: "the Secret", bytes: ours.value },
    { what: "its seed", bytes: ours.seed },
    ...transitKeys,
    ...credentials,
  ];
  const found = await withSnapshot(etcd, dir, (file) =>
    searchFor(filesWithControl("the snapshot", [file]), [...open, ...closed], control),
  );
  const read = await tried("the envelope beside the Secret is decoded", async () => ({
    result: envelope.wraps.map(({ key, version }) => `key ${key}, version ${version}`).join("; "),
    succeeded: envelope.wraps.length > 0,
  }));
  return {
    holds: "a dump or backup of etcd",
    shown: [...gets(...found.slice(0, open.length), read), ...doesNotGet(...found.slice(open.length))],
  };
}
