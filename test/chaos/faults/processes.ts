// kill -9 and SIGSTOP of each part, and restarts of all of a kind, one after the other.
import { type Course, anyOf, needsKey, type Fault, at, killed, paused, restarted, restartMs } from "../fault.ts";
import { byUse } from "../gateways.ts";
import type { Part, Site } from "../site.ts";
import { freeze } from "../../lab/freeze.ts";

type Victim = {
  readonly id: string;
  readonly name: string;
  readonly left: string;
  readonly find: (site: Site) => Part | Promise<Part>;
  readonly mayFail?: NonNullable<Fault["mayFail"]>;
  readonly note?: string;
  /** When it is started again, milliseconds; the usual time of a fault when absent. */
  readonly againMs?: number;
};

async function standbyOf({ raft, nodePart }: Site): Promise<Part> {
  const leader = await raft.leader();
  return nodePart(
    at(
      raft.nodes.filter((node) => node !== leader),
      0,
    ),
  );
}

/** Resolves when they have ended. */
async function killAll(parts: readonly Pick<Part, "proc">[]): Promise<void> {
  for (const { proc } of parts) process.kill(proc().pid, "SIGKILL");
  await Promise.all(parts.map(({ proc }) => proc().ended));
}

const noGateway = "nothing can be encrypted or decrypted without one; Status and what kube-apiserver holds go on";

const victims: readonly Victim[] = [
  {
    id: "openbao-leader",
    name: "OpenBao's leader",
    left: "two nodes of OpenBao",
    find: async ({ raft, nodePart }) => nodePart(await raft.leader()),
  },
  { id: "openbao-follower", name: "a follower of OpenBao", left: "two nodes of OpenBao", find: standbyOf },
  { id: "redis", name: "Redis", left: "no Redis: gateways go on without", find: ({ redisPart }) => redisPart },
  {
    id: "gateway-used",
    name: "the gateway in use",
    left: "the other gateway",
    find: async (site) => at(await byUse(site), 0),
  },
  {
    id: "shim-1",
    name: "the shim of node 1",
    left: "nothing on node 1",
    find: ({ shims }) => at(shims, 0),
    mayFail: anyOf("shim-1", "secrets"),
    note: "a node has one shim; systemd starts it again after 1 s",
    againMs: restartMs,
  },
  {
    id: "etcd",
    name: "etcd",
    left: "no etcd",
    find: ({ etcd }) => etcd,
    mayFail: anyOf("secrets"),
    note: "the lab has one etcd",
  },
  {
    id: "apiserver",
    name: "kube-apiserver",
    left: "no kube-apiserver",
    find: ({ apiPart }) => apiPart,
    mayFail: anyOf("secrets"),
    note: "the lab has one kube-apiserver",
  },
];

function faultsOf({ find, againMs, note, id, name, ...rest }: Victim): readonly Fault[] {
  return [
    {
      ...rest,
      ...(note !== undefined && { note }),
      id: `kill-${id}`,
      name: `kill -9 of ${name}`,
      run: async (site, course) => await killed(await find(site), course, againMs),
    },
    {
      ...rest,
      ...(note !== undefined && { note: note.split(";")[0] ?? note }),
      id: `stop-${id}`,
      name: `SIGSTOP of ${name}`,
      run: async (site, course) => await paused(await find(site), course),
    },
  ];
}

async function rolling(site: Site, parts: readonly Part[], { hold }: Course): Promise<void> {
  for (const part of parts) {
    await restarted(site, part);
    await hold(1500);
  }
}

export const processFaults: readonly Fault[] = [
  ...victims.flatMap(faultsOf),
  {
    id: "openbao-all",
    name: "kill -9 of all nodes of OpenBao",
    left: "no OpenBao",
    mayFail: needsKey,
    note: "nothing can be encrypted or decrypted without it; Status and what kube-apiserver holds go on",
    async run({ raft, nodePart }, { hold, over }) {
      await killAll(raft.nodes.map(nodePart));
      await hold();
      over();
      await Promise.all(raft.nodes.map((node) => node.start()));
      await Promise.all(raft.nodes.map((node) => node.unseal()));
    },
  },
  {
    id: "gateways-all",
    name: "kill -9 of both gateways",
    left: "no gateway",
    mayFail: needsKey,
    note: noGateway,
    async run({ gateways }, { hold, over }) {
      await killAll(gateways);
      await hold();
      over();
      await Promise.all(gateways.map((gateway) => gateway.start()));
    },
  },
  {
    id: "openbao-quorum",
    name: "kill -9 of two nodes of OpenBao",
    left: "one node, without a quorum",
    mayFail: needsKey,
    note: "a node without a quorum goes on using the keys that it has; it makes no new version",
    async run({ raft, nodePart }, { hold, over }) {
      const leader = await raft.leader();
      const nodes = [leader, ...raft.nodes.filter((node) => node !== leader)].slice(0, 2);
      await killAll(nodes);
      await hold();
      over();
      await Promise.all(nodes.map((node) => nodePart(node).start()));
    },
  },
  {
    id: "stop-gateways",
    name: "SIGSTOP of both gateways",
    left: "no gateway",
    mayFail: needsKey,
    note: noGateway,
    async run({ gateways }, { hold, over }) {
      for (const { proc } of gateways) freeze(proc().pid);
      await hold();
      over();
      for (const { proc } of gateways) process.kill(proc().pid, "SIGCONT");
    },
  },
  {
    id: "roll-gateways",
    name: "restart of the gateways, one after the other",
    left: "one gateway",
    run: async (site, course) => await rolling(site, site.gateways, course),
  },
  {
    id: "roll-shims",
    name: "restart of the shims, one after the other",
    left: "nothing on the node, for as long as a start takes",
    run: async (site, course) => await rolling(site, site.shims, course),
  },
  {
    id: "roll-openbao",
    name: "restart of OpenBao's nodes, one after the other",
    left: "two nodes of OpenBao",
    async run(site, { hold }) {
      for (const node of site.raft.nodes) {
        await restarted(site, site.nodePart(node));
        await hold(1500);
      }
    },
  },
];
