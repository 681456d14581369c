// `claviger key usage`, `retire` and `unretire`: which objects need which version, and taking
// versions out of use once none does. (docs/architecture.md #rotation.)
import { parseDuration } from "@claviger/proto/runtime/duration.ts";
import { keyPath } from "@claviger/gateway-core/src/key/key-id.ts";
import { CliError, type Command, InvalidArgumentError, numberBetween, several, type Terminal } from "../commander.ts";
import { openFleet } from "../fleet.ts";
import { type FleetOptions, fleetOptions } from "../target.ts";
import { keyOf } from "@claviger/gateway-core/src/registry/edit/text.ts";
import { retire, type RetireOptions } from "./retire.ts";
import { sourceOptions } from "./sources.ts";
import { showUsage, type UsageOptions } from "./usage.ts";

const callMs = 10_000;
/**
 * Kubernetes advises five minutes after the last node has seen a rotation. (docs/kms-contract.md
 * section 4.)
 */
const defaultQuietMs = 5 * 60_000;
const version = numberBetween(1, 1_000_000_000);

function parseQuiet(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined) throw new InvalidArgumentError("Must be a duration such as 5m.");
  return ms;
}

async function unretire(
  cluster: string,
  { from, ...options }: FleetOptions & { readonly from: number },
  terminal: Terminal,
): Promise<void> {
  await openFleet(options, terminal).withKey(cluster, async (record, backend) => {
    const ref = keyOf(record);
    const { minDecryption, latest } = await backend.describe(ref, AbortSignal.timeout(callMs));
    if (from > latest)
      throw new CliError(`--from ${from}: ${keyPath(ref)} has no version ${from}; its latest is ${latest}`);
    if (from >= minDecryption) {
      terminal.out(`${cluster}: version ${from} decrypts already; nothing was changed.`);
      return;
    }
    await backend.setMinDecryption(ref, from, AbortSignal.timeout(callMs));
    terminal.out(`${cluster}: the versions from ${from} on of ${keyPath(ref)} decrypt again.`);
  });
}

/** Adds the three commands to `claviger key`. */
export function addRetireCommands(group: Command, terminal: Terminal): void {
  sourceOptions(group.command("usage"))
    .argument("<cluster>")
    .description(
      "count the objects in etcd that need each version of the cluster's key, and try whether one of each decrypts today",
    )
    .option("--no-decrypt", "only count: ask nothing of the keys' backends")
    .option("--json", "print JSON", false)
    .action((cluster: string, options: UsageOptions) => showUsage(cluster, options, terminal));

  sourceOptions(group.command("retire"))
    .argument("<cluster>")
    .description("let earlier versions decrypt nothing any more (min_decryption_version), once no object needs them")
    .option("--before <version>", "retire what is below this version (default: the one that encrypts)", version)
    .option(
      "--nodes <[cluster=]n>",
      "how many control-plane nodes the cluster has: each must show the new key_id (asks Redis)",
      several,
    )
    .option("--nodes-checked", "you have seen that every node shows the new key_id and has for five minutes", false)
    .option("--snapshots-checked", "every --etcd-snapshot was taken after that", false)
    .option(
      "--other-key <name>",
      "objects of this KMS provider, or under this backend, need another key than the cluster's; several times",
      several,
    )
    .option(
      "--quiet <duration>",
      "for so long every node must have had the new key_id, and no node have decrypted under an earlier one",
      parseQuiet,
      defaultQuietMs,
    )
    .option("--yes", "do it; without this it only looks", false)
    .action((cluster: string, options: RetireOptions) => {
      const fleet = openFleet(options, terminal);
      return fleet.withKey(cluster, (record, backend) => retire(fleet, record, backend, options, terminal));
    });

  fleetOptions(group.command("unretire"))
    .argument("<cluster>")
    .description("let earlier versions decrypt again, e.g. for an older etcd backup")
    .requiredOption("--from <version>", "the lowest version that is to decrypt", version)
    .action((cluster: string, options: FleetOptions & { readonly from: number }) =>
      unretire(cluster, options, terminal),
    );
}
