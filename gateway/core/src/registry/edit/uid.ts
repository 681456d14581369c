// The only file that imports ulid.
import { type ClusterUid, clusterUid } from "@claviger/proto/wire/names.ts";
import { ulid } from "ulid";

/** A uid that no cluster has had before. */
export function newClusterUid(): ClusterUid {
  return clusterUid.parse(ulid());
}
