// The door to ulid.
import { type ClusterUid, clusterUid } from "@claviger/proto/names.ts";
import { ulid } from "ulid";

/** A uid that no cluster has had before. */
export const newClusterUid = (): ClusterUid => clusterUid.parse(ulid());
