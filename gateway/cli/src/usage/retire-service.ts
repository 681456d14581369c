// `claviger key retire` through the fleet service: the etcds are counted here, and the service holds the count
// against what it sees of the nodes. (docs/architecture.md #rotation.)
import type { Cluster, Key } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import { serviceClusters } from "../cluster/service.ts";
import { CliError, type Terminal } from "../commander.ts";
import { type FleetClient, withFleetService } from "../fleet-client.ts";
import { etcdsIn, reasonOf, type SiteOptions } from "../site.ts";
import { countUsage, type Usage } from "./count.ts";
import { createProgress } from "./progress.ts";
import type { RetireOptions } from "./retire.ts";
import { usageMessage, type UsageMessage } from "./usage-message.ts";
import { byCluster, entriesOf, parseSources, withContextEtcds } from "./sources.ts";

export type ServiceRetireOptions = RetireOptions & SiteOptions & { readonly dryRun: boolean };

type Counted = { readonly cluster: string; readonly usage: Usage; readonly message: UsageMessage };
function pathOf({ namespace, mount, key }: Key): string {
  return [...(namespace === "" ? [] : [namespace]), mount, key].join("/");
}

function isSameKey(a: Key, b: Key): boolean {
  return a.backend === b.backend && pathOf(a) === pathOf(b);
}

function nodesOf(given: readonly string[], own: string) {
  return [...byCluster(given, own)].map(([cluster, counts]) => {
    const count = counts.at(-1) ?? "";
    if (!/^[1-9]\d{0,3}$/.test(count)) throw new CliError(`--nodes ${count} is not a number of nodes`);
    return { cluster, count: Number(count) };
  });
}

/** The clusters that the key of one encrypts for, or did, of those that the caller may see. */
async function usersOf(client: FleetClient, name: string): Promise<readonly Cluster[]> {
  const { cluster } = await client.getCluster({ name });
  const { clusters } = await serviceClusters(client, "", () => "").list("");
  return clusters.filter(({ keys, previousKeys }) =>
    [...keys, ...previousKeys].some((key) => cluster?.keys.some((own) => isSameKey(own, key)) === true),
  );
}

/** @throws CliError with every reason against it */
export async function retireThroughService(
  name: string,
  options: ServiceRetireOptions,
  terminal: Terminal,
): Promise<void> {
  const reason = reasonOf(options, terminal);
  const onProgress = createProgress(terminal.err);
  await withFleetService(options, terminal, async (client) => {
    const users = await usersOf(client, name);
    const names = users.map((user) => user.name);
    const where = withContextEtcds(options, etcdsIn(options, terminal), names, name);
    const sources = parseSources(where, name);
    for (const other of sources.keys())
      if (!names.includes(other))
        throw new CliError(`--etcd ${other}=…: cluster ${other} does not use the key of ${name}`);
    const nodes = nodesOf(options.nodes ?? [], name);
    const count = async (): Promise<readonly Counted[]> => {
      const all: Counted[] = [];
      for (const [cluster, own] of sources) {
        const began = Date.now();
        const usage = await countUsage(entriesOf(own, options, onProgress), options.prefix);
        all.push({ cluster, usage, message: usageMessage(cluster, usage, own, began) });
      }
      return all;
    };
    const counted = await count();
    const dryRun = options.dryRun || !options.yes;
    const { fromVersion, toVersion, unknown, keys } = await client.retireKey({
      name,
      nodes,
      reason,
      dryRun,
      usage: counted.map(({ message }) => message),
      beforeVersion: options.before ?? 0,
      nodesChecked: options.nodesChecked,
      snapshotsChecked: options.snapshotsChecked,
      otherKeys: [...(options.otherKey ?? [])],
      quietSeconds: Math.round(options.quiet / 1000),
    });
    const key = keys?.key;
    const path = key === undefined ? "?" : `${key.backend}:${pathOf(key)}`;
    if (toVersion === 0)
      return terminal.out(
        `${name}: no version below ${options.before ?? keys?.promoted ?? 0} of ${path} decrypts; nothing was changed.`,
      );
    if (unknown !== "") terminal.err(`Not known: ${unknown}. You have said --nodes-checked.`);
    const what = `the versions ${fromVersion} to ${toVersion} of ${path}`;
    const remains =
      "What an etcd backup from before needs, only 'claviger key unretire' brings back; the key material stays in Vault.";
    if (dryRun)
      return terminal.out(
        `Nothing needs ${what}: no object in the etcds named, and every node has the new key_id.\n${remains}\nNothing was changed. To retire them, run this again with --yes.`,
      );
    await lookAgain(client, { name, what, users, fromVersion, toVersion, reason, count });
    return terminal.out(`${name}: retired ${what}; they decrypt nothing any more.\n${remains}`);
  });
}

/** Whoever wrote while we counted had an old seed: counts again, and takes it back. @throws CliError */
async function lookAgain(
  client: FleetClient,
  retired: {
    readonly name: string;
    readonly what: string;
    readonly users: readonly Cluster[];
    readonly fromVersion: number;
    readonly toVersion: number;
    readonly reason: string;
    readonly count: () => Promise<readonly Counted[]>;
  },
): Promise<void> {
  const { name, what, users, fromVersion, toVersion, reason, count } = retired;
  const refs = users.flatMap(({ keys, previousKeys }) => [...keys, ...previousKeys]);
  const problems = async (): Promise<readonly string[]> => {
    try {
      return (await count()).flatMap(({ cluster, usage }) =>
        usage.uses
          .filter((use) => use.version <= toVersion)
          .filter((use) => refs.some((ref) => ref.backend === use.backend && pathOf(ref) === use.key))
          .map(
            (use) =>
              `${use.count} object${use.count === 1 ? "" : "s"} of cluster ${cluster} need version ${use.version}, e.g. ${use.examples[0]}`,
          ),
      );
    } catch (error) {
      return [`it could not be counted again: ${error instanceof Error ? error.message : "unknown error"}`];
    }
  };
  const late = await problems();
  if (late.length === 0) return;
  const undone = await client.unretireKey({ name, fromVersion, reason }).then(
    () => "and took it back at once",
    () => `and COULD NOT TAKE IT BACK: run claviger key unretire ${name} --from ${fromVersion}`,
  );
  throw new CliError([`retired ${what}, ${undone}:`, ...late].join("\n  - "));
}
