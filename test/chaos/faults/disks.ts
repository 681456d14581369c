// Full disks, and audit sinks that take nothing.
import { at, type Fault } from "../fault.ts";
import { byUse, complaining } from "../gateways.ts";
import { empty, fill } from "../mounts.ts";
import { auditDir, type GatewayPart, type Site, storageDir } from "../site.ts";

type What = { readonly files: boolean; readonly collectors: boolean };

/** Audit sinks of these gateways take nothing, until the end of what is waited for. */
async function withoutSinks(site: Site, gateways: readonly GatewayPart[], what: What, hold: () => Promise<void>) {
  const dirs = what.files ? gateways.map(({ name }) => auditDir(site.dir, name)) : [];
  const collectors = what.collectors ? gateways.map(({ collector }) => collector) : [];
  for (const dir of dirs) fill(dir);
  for (const collector of collectors) collector.read(false);
  try {
    // A collector's buffer takes some seconds of this load until it is full.
    for (const gateway of gateways) {
      if (what.files) await complaining(gateway, "audit/file");
      if (what.collectors) await complaining(gateway, "audit/syslog");
    }
    await hold();
  } finally {
    for (const dir of dirs) empty(dir);
    for (const collector of collectors) collector.read(true);
  }
}

function storageFull(id: string, name: string, isLeader: boolean): Fault {
  return {
    id,
    name,
    left: "two nodes of OpenBao",
    needs: ["isolation"],
    async run({ raft, dir: home, nodePart }, { hold, over }) {
      const leader = await raft.leader();
      const node = at(
        raft.nodes.filter((one) => (one === leader) === isLeader),
        0,
      );
      const dir = storageDir(home, raft.nodes.indexOf(node));
      fill(dir);
      try {
        // The rotation in the middle is what it has to write.
        await hold();
      } finally {
        empty(dir);
      }
      over();
      // A node that cannot write its log may end by it.
      const { exitCode, signalCode } = node.proc().child;
      if (exitCode !== null || signalCode !== null) await nodePart(node).start();
    },
  };
}

export const diskFaults: readonly Fault[] = [
  {
    id: "audit-full",
    name: "the disks of both gateways' audit files are full",
    left: "their syslog collectors",
    needs: ["isolation"],
    run: async (site, { hold }) =>
      await withoutSinks(site, site.gateways, { files: true, collectors: false }, () => hold()),
  },
  {
    id: "audit-blocked",
    name: "both gateways' syslog collectors read nothing",
    left: "their audit files",
    run: async (site, { hold }) =>
      await withoutSinks(site, site.gateways, { files: false, collectors: true }, () => hold()),
  },
  {
    id: "audit-none",
    name: "the gateway in use: audit disk full and collector blocked",
    left: "the other gateway",
    needs: ["isolation"],
    run: async (site, { hold }) =>
      await withoutSinks(site, [at(await byUse(site), 0)], { files: true, collectors: true }, () => hold()),
  },
  storageFull("storage-leader", "the disk of OpenBao's leader is full", true),
  storageFull("storage-follower", "the disk of a follower of OpenBao is full", false),
];
