// `claviger key usage`, `retire` and `unretire`: which objects need which version, and taking
// versions out of use once none does. (docs/architecture.md #rotation.)
import { parseDuration } from "@claviger/proto/runtime/duration.ts";
import { type Command, InvalidArgumentError, several, type Terminal, wholeNumberBetween } from "../commander.ts";
import { openFleet } from "../fleet.ts";
import { withKeys } from "../key/editor.ts";
import { keyOfText } from "../key/report.ts";
import { changeOptions, isThroughService, siteOptions, type SiteOptions } from "../site.ts";
import { retire } from "./retire.ts";
import { retireThroughService, type ServiceRetireOptions } from "./retire-service.ts";
import { sourceOptions } from "./sources.ts";
import { showUsage, type UsageOptions } from "./usage.ts";

/**
 * Kubernetes advises five minutes after the last node has seen a rotation. (docs/kms-contract.md
 * section 4.)
 */
const defaultQuietMs = 5 * 60_000;
const version = wholeNumberBetween(1, 1_000_000_000);

function parseQuiet(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined) throw new InvalidArgumentError("Must be a duration such as 5m.");
  return ms;
}

type UnretireOptions = SiteOptions & { readonly from: number; readonly dryRun: boolean };

async function unretire(cluster: string, options: UnretireOptions, terminal: Terminal): Promise<void> {
  const { from, dryRun } = options;
  await withKeys(cluster, options, terminal, async (editor) => {
    if (dryRun) {
      const { minDecryptionVersion: first } = await editor.keys();
      const is =
        from >= first ? `version ${from} decrypts already` : `the versions from ${from} on would decrypt again`;
      return terminal.out(`${cluster}: ${is}; nothing was changed (--dry-run).`);
    }
    const { keys, changed } = await editor.unretire(from);
    return terminal.out(
      changed
        ? `${cluster}: the versions from ${from} on of ${keyOfText(keys)} decrypt again.`
        : `${cluster}: version ${from} decrypts already; nothing was changed.`,
    );
  });
}

/** Adds the three commands to `claviger key`. */
export function addRetireCommands(group: Command, terminal: Terminal): void {
  sourceOptions(siteOptions(group.command("usage")))
    .argument("<cluster>")
    .description(
      "count the objects in etcd that need each version of the cluster's key, and try whether one of each decrypts today",
    )
    .option("--no-decrypt", "only count: ask nothing of the keys' backends")
    .option(
      "--no-report",
      "do not tell the fleet service, which shows the count in 'key status'; with --prefix it is not told",
    )
    .option("--json", "print JSON", false)
    .action((cluster: string, options: UsageOptions) => showUsage(cluster, options, terminal));

  sourceOptions(changeOptions(group.command("retire")))
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
    .action((cluster: string, options: ServiceRetireOptions) => {
      if (isThroughService(options, terminal)) return retireThroughService(cluster, options, terminal);
      const fleet = openFleet(options, terminal);
      return fleet.withKey(cluster, (record, backend) => retire(fleet, record, backend, options, terminal));
    });

  changeOptions(group.command("unretire"))
    .argument("<cluster>")
    .description("let earlier versions decrypt again, e.g. for an older etcd backup")
    .requiredOption("--from <version>", "the lowest version that is to decrypt", version)
    .action((cluster: string, options: UnretireOptions) => unretire(cluster, options, terminal));
}
