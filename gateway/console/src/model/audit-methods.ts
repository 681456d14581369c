// Methods of the service as its audit records name them.

/** Those that change something. */
export const changeMethods: readonly string[] = [
  "addCluster",
  "importClusters",
  "updateCluster",
  "removeCluster",
  "setClusterState",
  "createNodeToken",
  "enrollNode",
  "revokeNode",
  "allowNode",
  "approveChange",
  "rejectChange",
  "rotateKey",
  "promoteKey",
  "retireKey",
  "unretireKey",
];
