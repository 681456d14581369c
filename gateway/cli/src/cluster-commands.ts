// `claviger cluster`: the registry as operators see and change it. An edit is done when the gateways
// that can be asked have it in force.
import { readFileSync } from "node:fs";
import { publicKeyPin } from "@claviger/proto/runtime/pins.ts";
import { splitPem } from "@claviger/proto/runtime/certificates.ts";
import { backendName, clusterName, keyName, mountPath, type NameKind } from "@claviger/proto/wire/names.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { changeCluster } from "./change-cluster.ts";
import { type EditOptions, gatewayHelp, gatewaysOf } from "./cluster-options.ts";
import { CliError, type Command, Option, several, type Terminal } from "./commander.ts";
import { type Fleet, openFleet } from "./fleet.ts";
import { fleetOptions } from "./target.ts";
import { waitForGateways } from "./gateway-word.ts";
import { codeOf, fileProblem } from "@claviger/proto/runtime/file-problem.ts";
import { addLabelCommands } from "./label-commands.ts";
import { parseLabels } from "./labels.ts";
import { addRegistryCommands } from "./registry-commands.ts";
import { type NewRecord, printRecord } from "@claviger/gateway-core/src/registry/edit/record-text.ts";
import { newClusterUid } from "./uid.ts";

/** What each verb means for the cluster's nodes, said after it was done. */
const verbs: readonly {
  readonly verb: string;
  readonly state: ClusterRecord["state"];
  readonly help: string;
  readonly effect: string;
}[] = [
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

function parse<T extends string>(kind: NameKind<T>, option: string, value: string): T {
  if (!kind.is(value)) throw new CliError(`${option} must be ${kind.rule}`);
  return value;
}

type AddOptions = EditOptions & {
  readonly backend?: string;
  readonly namespace?: string;
  readonly mount?: string;
  readonly key?: string;
  readonly rotation: ClusterRecord["rotation"];
  readonly issuerCa?: string;
  readonly label?: readonly string[];
  readonly dryRun: boolean;
};

/** The pin of the one CA in a PEM file. */
function pinOf(file: string): string {
  try {
    const [authority, ...others] = splitPem(readFileSync(file, "utf8"));
    if (authority?.ca === true && others.length === 0) return publicKeyPin(authority);
  } catch (error) {
    const problem = /^E[A-Z]+$/.test(codeOf(error) ?? "") ? fileProblem(error) : "it holds no certificate (PEM)";
    throw new CliError(`--issuer-ca: ${file} cannot be used (${problem})`);
  }
  throw new CliError(`--issuer-ca: ${file} must hold one CA certificate (PEM)`);
}

/** The one value, where there is one. @throws CliError that names them all where there are more, or none */
function theOne(option: string, what: string, values: Iterable<string>): string {
  const [one, ...others] = new Set(values);
  if (one !== undefined && others.length === 0) return one;
  throw new CliError(
    one === undefined
      ? `give ${option}: ${what} is not in the configuration`
      : `give ${option}: it can be ${[one, ...others].join(", ")}`,
  );
}

/** The Transit mounts of a backend that are in use: those of its clusters, and of the integrity key. */
async function mountsOf({ config: { integrity }, registry }: Fleet, backend: string): Promise<readonly string[]> {
  const refs = [...(await registry.all("empty")).values()].flatMap(({ keys }) => keys);
  return [...refs, ...(integrity === undefined ? [] : [integrity])]
    .filter((ref) => ref.backend === backend)
    .map(({ mount }) => mount);
}

async function newRecord(name: string, options: AddOptions, fleet: Fleet): Promise<NewRecord> {
  const backend = parse(
    backendName,
    "--backend",
    options.backend ?? theOne("--backend", "a backend", Object.keys(fleet.config.backends)),
  );
  const mount = options.mount ?? theOne("--mount", `a Transit mount of ${backend}`, await mountsOf(fleet, backend));
  return {
    name: parse(clusterName, "NAME", name),
    uid: newClusterUid(),
    state: "active",
    rotation: options.rotation,
    ...(options.label !== undefined && { labels: parseLabels(options.label) }),
    ...(options.issuerCa !== undefined && { issuer: pinOf(options.issuerCa) }),
    keys: [
      {
        backend,
        ...(options.namespace === undefined ? {} : { namespace: parse(mountPath, "--namespace", options.namespace) }),
        mount: parse(mountPath, "--mount", mount),
        key: parse(keyName, "--key", options.key ?? name),
      },
    ],
  };
}

/** Adds the group. */
export function addClusterCommands(root: Command, terminal: Terminal): void {
  const group = root.command("cluster").description("the clusters of the registry");

  for (const { verb, state, help, effect } of verbs)
    fleetOptions(group.command(verb))
      .argument("<cluster>")
      .description(help)
      .option("--gateway <url>", gatewayHelp, several)
      .action((cluster: string, options: EditOptions) =>
        changeCluster(
          cluster,
          () => ({ state }),
          options,
          terminal,
          ({ earlier, changed, where }) =>
            changed === undefined
              ? `${cluster} is ${state} already`
              : `${cluster}: ${earlier.state} → ${state} in ${where}; ${effect}.`,
        ),
      );

  fleetOptions(group.command("add"))
    .argument("<name>", "the cluster's name, as in its nodes' certificates")
    .description("add a cluster, with a new uid")
    .option("--backend <name>", "a backend of the gateway's configuration (default: the only one)")
    .option("--namespace <path>", "Vault namespace")
    .option("--mount <path>", "Transit mount (default: the only one in use)")
    .option("--key <name>", "Transit key (default: the cluster's name)")
    .addOption(
      new Option("--rotation <kind>", "who promotes a new key version").choices(["auto", "manual"]).default("auto"),
    )
    .option("--issuer-ca <file>", "the only CA that may speak for the cluster, PEM; one of the gateways' tls.clientCa")
    .option("--label <key=value>", "a label, as gateways' serves and -l select by; several times", several)
    .option("--gateway <url>", gatewayHelp, several)
    .option("--dry-run", "print the record and change nothing", false)
    .action(async (name: string, options: AddOptions) => {
      const fleet = openFleet(options, terminal);
      const { registry } = fleet;
      const gateways = gatewaysOf(options, fleet);
      const record = await newRecord(name, options, fleet);
      const edited = options.dryRun ? undefined : await registry.add([record]);
      terminal.out(printRecord(record).trimEnd());
      if (edited === undefined) return;
      terminal.out(
        `added to ${registry.name}. Next: make its key (claviger vault init), and issue a certificate for each node (claviger pki node).`,
      );
      terminal.out(await waitForGateways(gateways, edited.version));
    });

  addLabelCommands(group, terminal);
  addRegistryCommands(group, terminal);
}
