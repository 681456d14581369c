// The active node of a Vault of three goes wrong for the gateways, while a standby is reached.
import { describeEdges } from "./suite.ts";
import { nodeCells, startNodes } from "./vault-nodes.ts";

describeEdges({
  dependency: "Vault or OpenBao, the active node of several",
  start: () => startNodes("active"),
  cells: nodeCells({
    unreachable:
      "the active node has the newest state there is; a backup that is restored is in the section of one address",
  }),
  sample: [],
});
