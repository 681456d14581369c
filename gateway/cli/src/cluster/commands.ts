// `claviger cluster`: the clusters as operators see and change them, through the fleet service or in the
// registry itself. An edit is done when the gateways that can be asked have it in force.
import type { Cluster } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import { gatewayHelp } from "../cluster-options.ts";
import { type Command, several, type Terminal } from "../commander.ts";
import { changeOptions } from "../site.ts";
import { addAddCommand } from "./add-command.ts";
import { addEditCommands } from "./edit-commands.ts";
import { addListCommands } from "./list-commands.ts";
import { addMoveCommands } from "./move-commands.ts";
import { type ChangeOptions, nothingChanged, waitFor, withClusters } from "./open.ts";

type Verb = {
  readonly verb: string;
  readonly state: Cluster["state"];
  readonly help: string;
  /** What it means for the cluster's nodes, said after it was done. */
  readonly effect: string;
};

const verbs: readonly Verb[] = [
  {
    verb: "suspend",
    state: "suspended",
    help: "refuse everything from this cluster",
    effect:
      "gateways that have read this refuse it. Its apiservers keep what they hold in memory: reads of known Secrets go on, writes stop within three minutes",
  },
  {
    verb: "decrypt-only",
    state: "decrypt-only",
    help: "let this cluster read and not write",
    effect:
      "gateways that have read this refuse its Encrypt. An apiserver that starts now needs one good Encrypt before it can read anything",
  },
  {
    verb: "resume",
    state: "active",
    help: "serve this cluster again",
    effect: "gateways that have read this serve it",
  },
];

async function setState(
  name: string,
  { state, effect }: Verb,
  options: ChangeOptions,
  terminal: Terminal,
): Promise<void> {
  await withClusters(options, terminal, async (site) => {
    const { clusters } = site;
    const before = await clusters.get(name);
    const { version } = await clusters.setState(name, state, { dryRun: options.dryRun });
    if (before.state === state) terminal.out(`${name} is ${state} already; ${nothingChanged}`);
    else if (options.dryRun) terminal.out(`${name}: ${before.state} → ${state}; ${nothingChanged} (--dry-run)`);
    else terminal.out(`${name}: ${before.state} → ${state} in ${clusters.where}; ${effect}.`);
    await waitFor(site, version, terminal);
  });
}

/** Adds the group. */
export function addClusterCommands(root: Command, terminal: Terminal): void {
  const group = root.command("cluster").description("the clusters of the fleet");
  addListCommands(group, terminal);
  addAddCommand(group, terminal);
  addEditCommands(group, terminal);
  for (const verb of verbs)
    changeOptions(group.command(verb.verb))
      .argument("<cluster>")
      .description(verb.help)
      .option("--gateway <url>", gatewayHelp, several)
      .action((name: string, options: ChangeOptions) => setState(name, verb, options, terminal));
  addMoveCommands(group, terminal);
}
