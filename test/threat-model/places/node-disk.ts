// A control-plane node's disk.
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { trustDomain } from "../../lab/fleet.ts";
import { secretPath } from "../../lab/kubernetes.ts";
import { openThief, type Thief } from "../../lab/thief.ts";
import { createCa, issueNode } from "@claviger/gateway-core/src/pki/authority.ts";
import { type Evidence, searchFor } from "../evidence.ts";
import { filesOf } from "../search.ts";
import { nodeFiles, type Spoils, within } from "../spoils.ts";
import { doesNotGet, gets, type Standing, tried } from "../standing.ts";
import { openThrough, operator, statusOf, withThief } from "../tries.ts";
import type { World } from "../world.ts";

/** On the connection that is open, within a second of the command's end. */
async function statusAfter(thief: Thief) {
  const isRefused = await within(1000, async () => (await thief.status()) !== "ok");
  return isRefused ? await statusOf(thief) : { result: "served a second later", succeeded: true };
}

async function asThief(
  world: World,
  thief: Thief,
): Promise<{ readonly got: Evidence[]; readonly refused: Evidence[] }> {
  const { ours, others, gateway } = world;
  const connected = await tried("its certificate and key are used from elsewhere: Status", () => statusOf(thief));
  const opened = await tried("Decrypt of this cluster's etcd value", () =>
    openThrough(thief, ours, secretPath("taken")),
  );
  const audited = await tried("the audit log is read for that call", async () => {
    const records = readFileSync(gateway.audit, "utf8").split("\n");
    const is = records.some((line) => line.includes('"uids":["thief"]') && line.includes('"node":"node-1"'));
    return { result: is ? "one record, with cluster and node" : "no record", succeeded: is };
  });
  const foreign = await tried("Decrypt of another cluster's value under the same Transit key", () =>
    openThrough(thief, others, secretPath("other")),
  );
  await operator(world, "node", "revoke", "cluster-1/node-1");
  const revoked = await tried("Status on the open connection, within a second of `claviger node revoke`", () =>
    statusAfter(thief),
  );
  await operator(world, "node", "allow", "cluster-1/node-1");
  await operator(world, "cluster", "suspend", "cluster-1");
  const suspended = await tried("the same within a second of `claviger cluster suspend`", () => statusAfter(thief));
  await operator(world, "cluster", "resume", "cluster-1");
  if (!(await within(5000, async () => (await thief.status()) === "ok"))) throw new Error("not served after a resume");
  return { got: [connected, opened, audited], refused: [foreign, revoked, suspended] };
}

/** With a certificate of the same node whose day has passed. */
async function expired({ lab, gateway }: World): Promise<Evidence> {
  const clock = (): number => Date.now() - 2 * 24 * 60 * 60 * 1000;
  const name = { cluster: "cluster-1", node: "node-1" };
  const pair = await issueNode({ ca: lab.pki.authority, ...name, validity: 1, clock });
  return await withThief(gateway.url, { ca: readFileSync(lab.pki.ca), pair }, (thief) =>
    tried("Status with a certificate of that node that has expired", () => statusOf(thief)),
  );
}

/** As the node's own is once the gateways have another authority. */
async function ofAnotherCa({ gateway, lab }: World): Promise<Evidence> {
  const ca = await createCa({ trustDomain });
  const pair = await issueNode({ ca, cluster: "cluster-1", node: "node-1" });
  return await withThief(gateway.url, { ca: readFileSync(lab.pki.ca), pair }, (thief) =>
    tried("Status with a certificate of that node from an authority that gateways do not have (any longer)", () =>
      statusOf(thief),
    ),
  );
}

export async function nodeDisk(world: World, spoils: Spoils): Promise<Standing> {
  const { dir, shim, gateway, control, ours, others } = world;
  const { paths, keyLine, loot } = nodeFiles(world);
  const files = [dirname(shim.config), shim.proc.log, ...paths, join(dir, "kube-apiserver-1")];
  const found = searchFor(
    filesOf("the shim's and kube-apiserver's files", files, control, join(dir, "logs")),
    [
      { what: "the node's key", bytes: keyLine },
      ...spoils.credentials,
      ...spoils.transitKeys,
      { what: "the Secret", bytes: ours.value },
      { what: "its seed", bytes: ours.seed },
      { what: "another cluster's seed", bytes: others.seed },
    ],
    control,
  );
  const thief = openThief(gateway.url, loot);
  try {
    const { got, refused } = await asThief(world, thief);
    return {
      holds: "a control-plane node's disk",
      shown: [
        ...gets(...found.slice(0, 1), ...got),
        ...doesNotGet(...refused, await expired(world), await ofAnotherCa(world), ...found.slice(1)),
      ],
    };
  } finally {
    await thief.close();
  }
}
