// `claviger key usage`, `retire` and `unretire`: which objects need which version, and taking
// versions out of use once none does. (docs/architecture.md #rotation.)
import { parseDuration } from "@claviger/proto/runtime/duration.ts";
import type { KeyRef, KeyState, OpenBackend } from "@claviger/gateway-core/src/backend/port.ts";
import { deriveKeyId, keyPath, refId } from "@claviger/gateway-core/src/key/key-id.ts";
import type { Observation } from "@claviger/gateway-core/src/redis/observations.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { CliError, type Command, InvalidArgumentError, numberBetween, several, type Terminal } from "../commander.ts";
import { type Fleet, type FleetOptions, fleetOptions, openFleet } from "../fleet.ts";
import { keyOf, readRegistry, recordOf } from "../registry-edit.ts";
import { formatTable } from "../table.ts";
import { countUsage, type Usage } from "./count.ts";
import { type Entry, readEtcd, readEtcdTls } from "./etcd.ts";
import { type Counted, type Nodes, reasonsAgainst, type Retirement } from "./retirement.ts";
import { isSameKey } from "./key-identity.ts";
import { readClusterObservations } from "./observations.ts";

type EtcdOptions = FleetOptions & {
  readonly etcd: readonly string[];
  readonly prefix?: readonly string[];
  readonly etcdCa?: string;
  readonly etcdCert?: string;
  readonly etcdKey?: string;
};
type UsageOptions = EtcdOptions & { readonly json: boolean };
type RetireOptions = EtcdOptions & {
  readonly before?: number;
  readonly nodes?: readonly string[];
  readonly nodesChecked: boolean;
  readonly quiet: number;
  readonly yes: boolean;
};

const callMs = 10_000;
function signal(): AbortSignal {
  return AbortSignal.timeout(callMs);
}
/**
 * Kubernetes advises five minutes after the last node has seen a rotation. (docs/kms-contract.md
 * section 4.)
 */
const defaultQuietMs = 5 * 60_000;
const version = numberBetween(1, 1_000_000_000);

/** `[CLUSTER=]VALUE`, several times → the values of each cluster. */
function byCluster(given: readonly string[], own: string): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, readonly string[]>();
  for (const one of given) {
    const [, cluster = own, value = ""] = /^(?:([a-z0-9.-]+)=)?(.*)$/.exec(one) ?? [];
    found.set(cluster, [...(found.get(cluster) ?? []), value]);
  }
  return found;
}

function etcdOptions(command: Command): Command {
  return fleetOptions(command)
    .requiredOption(
      "--etcd <[cluster=]url>",
      "client address of one member of each etcd that holds the cluster's objects; several times",
      several,
    )
    .option(
      "--prefix <path>",
      "keys to look at, for an apiserver with another --etcd-prefix (default: /registry/); several times",
      several,
    )
    .option("--etcd-ca <file>", "CA of the etcds' certificates")
    .option("--etcd-cert <file>", "client certificate for the etcds")
    .option("--etcd-key <file>", "its key");
}

async function* entriesOf(
  urls: readonly string[],
  { prefix = ["/registry/"], etcdCa, etcdCert, etcdKey }: EtcdOptions,
): AsyncGenerator<Entry> {
  const tls = readEtcdTls({
    ...(etcdCa !== undefined && { ca: etcdCa }),
    ...(etcdCert !== undefined && { cert: etcdCert }),
    ...(etcdKey !== undefined && { key: etcdKey }),
  });
  for (const one of prefix)
    if (!one.startsWith("/"))
      throw new CliError(`--prefix ${one} is not a path that keys of an etcd begin with, e.g. /registry/secrets/`);
  for (const url of urls) {
    if (!/^https?:\/\/./.test(url) || !URL.canParse(url))
      throw new CliError(`--etcd ${url} is not the URL of an etcd, e.g. https://10.0.0.1:2379`);
    for (const one of prefix) yield* readEtcd(new URL(url), one, tls);
  }
}

function usageLines({ uses, plain, others, damaged }: Usage, nameOf: (uid: string) => string): readonly string[] {
  return [
    uses.length === 0
      ? "No object is encrypted by Claviger."
      : formatTable(
          ["OBJECTS", "CLUSTER", "KEY", "VERSION", "KEY_ID", "ONE OF THEM"],
          uses.map(({ count, clusterUid, backend, key, version: used, keyId, example }) => [
            String(count),
            nameOf(clusterUid),
            `${backend}: ${key}`,
            String(used),
            `${keyId.slice(0, 13)}…`,
            example,
          ]),
        ),
    ...[...others].map(([what, count]) => `${count} objects are encrypted by something else: ${what}`),
    `${plain} values are not encrypted at all`,
    ...(damaged.length === 0 ? [] : [`${damaged.length} values look encrypted and cannot be read, e.g. ${damaged[0]}`]),
  ];
}

function nodesOf(
  { name }: ClusterRecord,
  { nodesChecked }: RetireOptions,
  expected: ReadonlyMap<string, readonly string[]>,
  entries: ReadonlyMap<string, readonly Observation[]> | undefined,
): Nodes {
  if (nodesChecked) return { kind: "checked", entries: entries?.get(name) ?? [] };
  const count = expected.get(name)?.at(-1);
  if (count === undefined || entries === undefined) return { kind: "unknown" };
  if (!/^[1-9]\d{0,3}$/.test(count)) throw new CliError(`--nodes ${count} is not a number of nodes`);
  return { kind: "observations", expected: Number(count), entries: entries.get(name) ?? [] };
}

function namesOf({ keys, previousKeys }: ClusterRecord): readonly KeyRef[] {
  return [...keys, ...previousKeys];
}

/** What a cluster calls these versions of the key, under each name that it has for it. */
function keyIdsOf(
  { uid }: ClusterRecord,
  names: readonly KeyRef[],
  state: KeyState,
  isMeant: (version: number) => boolean,
): string[] {
  return names.flatMap((ref) =>
    [...state.versions].flatMap(([at, createdAt]) =>
      isMeant(at) ? [deriveKeyId(uid, [{ ref, version: at, createdAt }])] : [],
    ),
  );
}

async function retire(
  fleet: Fleet,
  record: ClusterRecord,
  backend: OpenBackend,
  options: RetireOptions,
  terminal: Terminal,
): Promise<void> {
  const ref = keyOf(record);
  const isIt = (one: KeyRef): boolean => isSameKey(one, ref, fleet.config.backends);
  // Every cluster whose objects may need the key.
  const users = [...(await readRegistry(fleet.registry)).values()].filter((user) => namesOf(user).some(isIt));
  const names = users.flatMap(namesOf).filter(isIt);
  const etcds = byCluster(options.etcd, record.name);
  for (const name of etcds.keys())
    if (!users.some((user) => user.name === name))
      throw new CliError(`--etcd ${name}=…: cluster ${name} does not use the key of ${record.name}`);
  const state = await backend.describe(ref, signal());
  const before = options.before ?? state.minEncryption;
  const look = async (): Promise<Retirement> => {
    const entries = await readClusterObservations(fleet, users).catch((error: unknown) => {
      // Where the operator has looked, missing observations neither prove nor hinder anything.
      if (!options.nodesChecked) throw error;
      return undefined;
    });
    const expected = byCluster(options.nodes ?? [], record.name);
    const clusters: Counted[] = [];
    for (const user of users) {
      const urls = etcds.get(user.name);
      const usage = urls === undefined ? undefined : await countUsage(entriesOf(urls, options));
      clusters.push({
        record: user,
        usage,
        keyId: keyIdsOf(user, user.keys.filter(isIt), state, (at) => at === state.minEncryption)[0],
        retiring: new Set(keyIdsOf(user, namesOf(user).filter(isIt), state, (at) => at < before)),
        nodes: nodesOf(user, options, expected, entries),
      });
    }
    return { names, state, before, clusters, quietMs: options.quiet, now: Date.now() };
  };
  const reasons = reasonsAgainst(await look());
  if (reasons.length > 0)
    throw new CliError([`the versions below ${before} of ${refId(ref)} are not retired:`, ...reasons].join("\n  - "));
  const what = `the versions ${state.minDecryption} to ${before - 1} of ${refId(ref)}`;
  const remains =
    "What an etcd backup from before needs, only 'claviger key unretire' brings back; the key material stays in Vault.";
  if (!options.yes) {
    terminal.out(
      `Nothing needs ${what}: no object in the etcds named, and every node has the new key_id.\n${remains}\nNothing was changed. To retire them, run this again with --yes.`,
    );
    return;
  }
  await backend.setMinDecryption(ref, before, signal());
  // Whoever wrote while we counted had an old seed: look again, and take it back.
  const lookAgain = async (): Promise<readonly string[]> => {
    try {
      return reasonsAgainst({ ...(await look()), state: { ...state, minDecryption: 0 } });
    } catch (error) {
      return [`it could not be counted again: ${error instanceof Error ? error.message : "unknown error"}`];
    }
  };
  const late = await lookAgain();
  if (late.length > 0) {
    const undone = await backend.setMinDecryption(ref, state.minDecryption, signal()).then(
      () => "and took it back at once",
      () => `and COULD NOT TAKE IT BACK: run claviger key unretire ${record.name} --from ${state.minDecryption}`,
    );
    throw new CliError([`retired ${what}, ${undone}:`, ...late].join("\n  - "));
  }
  terminal.out(`${record.name}: retired ${what}; they decrypt nothing any more.\n${remains}`);
}

/** Adds the three commands to `claviger key`. */
export function addRetireCommands(group: Command, terminal: Terminal): void {
  etcdOptions(group.command("usage"))
    .argument("<cluster>")
    .description("count the objects in etcd that need each version of the cluster's key")
    .option("--json", "print JSON", false)
    .action(async (cluster: string, options: UsageOptions) => {
      const registry = await readRegistry(openFleet(options, terminal).registry);
      const record = recordOf(registry, cluster);
      const names = new Map([...registry.values()].map(({ uid, name }) => [uid as string, name as string]));
      const etcds = byCluster(options.etcd, record.name);
      for (const name of etcds.keys())
        if (name !== record.name)
          throw new CliError(`--etcd ${name}=…: usage counts the etcds of ${record.name} alone`);
      const usage = await countUsage(entriesOf(etcds.get(record.name) ?? [], options));
      terminal.out(
        options.json
          ? JSON.stringify({ ...usage, others: Object.fromEntries(usage.others) }, undefined, 2)
          : usageLines(usage, (uid) => names.get(uid) ?? uid).join("\n"),
      );
    });

  etcdOptions(group.command("retire"))
    .argument("<cluster>")
    .description("let earlier versions decrypt nothing any more (min_decryption_version), once no object needs them")
    .option("--before <version>", "retire what is below this version (default: the one that encrypts)", version)
    .option(
      "--nodes <[cluster=]n>",
      "how many control-plane nodes the cluster has: each must show the new key_id (asks Redis)",
      several,
    )
    .option("--nodes-checked", "you have seen that every node shows the new key_id and has for five minutes", false)
    .option(
      "--quiet <duration>",
      "for so long every node must have had the new key_id, and no node have decrypted under an earlier one",
      (text: string) => {
        const ms = parseDuration(text);
        if (ms === undefined) throw new InvalidArgumentError("Must be a duration such as 5m.");
        return ms;
      },
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
      openFleet(options, terminal).withKey(cluster, async (record, backend) => {
        const ref = keyOf(record);
        const { minDecryption } = await backend.describe(ref, signal());
        if (options.from >= minDecryption) {
          terminal.out(`${cluster}: version ${options.from} decrypts already; nothing was changed.`);
          return;
        }
        await backend.setMinDecryption(ref, options.from, signal());
        terminal.out(`${cluster}: the versions from ${options.from} on of ${keyPath(ref)} decrypt again.`);
      }),
    );
}
