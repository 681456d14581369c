// A standby of a Vault of three goes wrong, while the active node is reached.
import { until } from "../../lab/process-group.ts";
import { describeEdges } from "./suite.ts";
import { nodeCells, startNodes } from "./vault-nodes.ts";

describeEdges({
  dependency: "Vault or OpenBao, a standby",
  start: () => startNodes("standby"),
  cells: nodeCells({
    how: "the active node does not reach it while a key is rotated, and it goes on answering",
    async cause({ raft, standby, client }) {
      const { keyId } = await client.status();
      await standby.reach(false);
      await raft.call("POST", "transit/keys/cluster-1/rotate");
      await until("the new key_id", undefined, async () =>
        (await client.status()).keyId === keyId ? undefined : true,
      );
    },
    cure: ({ standby }) => standby.reach(true),
  }),
  sample: [],
});
