// `claviger cluster add`: a new cluster, and what comes next.
import { readFileSync } from "node:fs";
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { type Cluster, ClusterSchema } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import { publicKeyPin } from "@claviger/proto/runtime/pins.ts";
import { splitPem } from "@claviger/proto/runtime/certificates.ts";
import { parseYaml } from "@claviger/proto/runtime/config.ts";
import { codeOf, fileProblem } from "@claviger/proto/runtime/file-problem.ts";
import {
  backendName,
  clusterName,
  clusterUid,
  keyName,
  mountPath,
  type NameKind,
  nodeName,
} from "@claviger/proto/wire/names.ts";
import { recordOfMessage } from "@claviger/gateway-core/src/registry/cluster-message.ts";
import { printRecord } from "@claviger/gateway-core/src/registry/edit/record-text.ts";
import { newClusterUid } from "@claviger/gateway-core/src/registry/edit/uid.ts";
import { gatewayHelp } from "../cluster-options.ts";
import { CliError, type Command, Option, several, type Terminal, wholeNumberBetween } from "../commander.ts";
import { parseLabels } from "../labels.ts";
import { readTextFile } from "../outside.ts";
import { changeOptions } from "../site.ts";
import type { ClusterInit, KeyPlaces } from "./editor.ts";
import { type ChangeOptions, type ClusterSite, waitFor, withClusters } from "./open.ts";

/** `--key` is the Transit key here; that of the operator's certificate has another name. */
type AddOptions = Omit<ChangeOptions, "key"> & {
  readonly backend?: string;
  readonly namespace?: string;
  readonly mount?: string;
  readonly key?: string;
  readonly certKey?: string;
  readonly uid?: string;
  readonly from?: string;
  readonly rotation?: "auto" | "manual";
  readonly issuerCa?: string;
  readonly label?: readonly string[];
  readonly expect?: readonly string[];
  readonly requestsPerSecond?: number;
};

function parse<T extends string>(kind: NameKind<T>, option: string, value: string): T {
  if (!kind.is(value)) throw new CliError(`${option} must be ${kind.rule}`);
  return value;
}

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
function theOne(option: string, what: string, values: Iterable<string>, { unknown }: KeyPlaces): string {
  const [one, ...others] = new Set(values);
  if (one !== undefined && others.length === 0) return one;
  throw new CliError(
    one === undefined
      ? `give ${option}: ${what} ${unknown}`
      : `give ${option}: it can be ${[one, ...others].join(", ")}`,
  );
}

/** What `cluster show -o yaml`, or json, printed. @throws CliError or ConfigError */
function readFrom(file: string): Cluster {
  const value = parseYaml(file, readTextFile(file)) as JsonValue;
  try {
    return fromJson(ClusterSchema, value);
  } catch {
    throw new CliError(`--from: ${file} is no cluster; 'claviger cluster show NAME -o yaml' prints one`);
  }
}

async function keyOf(name: string, options: AddOptions, { clusters }: ClusterSite) {
  const { namespace } = options;
  const needsPlaces = options.backend === undefined || options.mount === undefined;
  const places = needsPlaces ? await clusters.places() : { backends: [], mountsOf: () => [], unknown: "" };
  const backend = parse(
    backendName,
    "--backend",
    options.backend ?? theOne("--backend", "a backend", places.backends, places),
  );
  const mount = options.mount ?? theOne("--mount", `a Transit mount of ${backend}`, places.mountsOf(backend), places);
  return {
    backend,
    mount: parse(mountPath, "--mount", mount),
    key: parse(keyName, "--key", options.key ?? name),
    ...(namespace !== undefined && { namespace: parse(mountPath, "--namespace", namespace) }),
  };
}

async function newCluster(given: string, options: AddOptions, site: ClusterSite): Promise<ClusterInit> {
  const { from, uid, rotation, issuerCa, label, expect = [], requestsPerSecond } = options;
  const base = from === undefined ? undefined : readFrom(from);
  const name = parse(clusterName, "NAME", given);
  const hasKey =
    base !== undefined && base.keys.length > 0 && options.backend === undefined && options.mount === undefined;
  const init = {
    name,
    // Another cluster's uid is no pattern for a new one.
    uid: uid === undefined ? newClusterUid() : parse(clusterUid, "--uid", uid),
    generation: 0,
    state: "active",
    revokedNodes: [],
    revokedSerials: [],
    previousKeys: [],
    keys:
      hasKey && options.key === undefined
        ? base.keys.map((key) => ({ ...key, key: name }))
        : [await keyOf(name, options, site)],
    rotation: rotation ?? base?.rotation ?? "auto",
    ...(issuerCa !== undefined && { issuer: pinOf(issuerCa) }),
    ...(label !== undefined && { labels: parseLabels(label) }),
    ...(expect.length > 0 && {
      expectedNodes: expect.flatMap((one) => one.split(",")).map((node) => parse(nodeName, "--expect", node)),
    }),
    ...(requestsPerSecond !== undefined && { requestsPerSecond }),
  };
  if (base === undefined) return init;
  const { labels, expectedNodes, expectsNoNode, issuer: authority, requestsPerSecond: limit } = base;
  return { labels, expectedNodes, expectsNoNode, issuer: authority, requestsPerSecond: limit, ...init };
}

function nextSteps(name: string, { isService, clusters: { where } }: ClusterSite): string {
  return isService
    ? `added through ${where}. Next:
  claviger vault init                                              # whoever may: makes its key, and the gateways' right to it
  claviger node token ${name}/NODE --reason 'a new node' > token   # for each node; it prints what to run there
  claviger check --socket unix:///run/claviger/kms.sock            # on the node, once its shim runs`
    : `added to ${where}. Next: make its key (claviger vault init), and issue a certificate for each node (claviger pki node).`;
}

async function add(given: string, { key, certKey, ...rest }: AddOptions, terminal: Terminal): Promise<void> {
  const options = { ...rest, ...(key !== undefined && { key }) };
  const client = { ...rest, ...(certKey !== undefined && { key: certKey }) };
  await withClusters(client, terminal, async (site) => {
    const init = await newCluster(given, options, site);
    const text = printRecord(recordOfMessage(init, newClusterUid)).trimEnd();
    const { version } = await site.clusters.add(init, { dryRun: options.dryRun });
    terminal.out(text);
    if (options.dryRun) return;
    terminal.out(nextSteps(given, site));
    await waitFor(site, version, terminal);
  });
}

/** Adds the command. */
export function addAddCommand(group: Command, terminal: Terminal): void {
  changeOptions(group.command("add"), "--cert-key <file>")
    .argument("<name>", "the cluster's name, as in its nodes' certificates")
    .description("add a cluster, with a new uid")
    .option("--backend <name>", "the backend of its key (default: the only one)")
    .option("--namespace <path>", "Vault namespace")
    .option("--mount <path>", "Transit mount (default: the only one in use)")
    .option("--key <name>", "Transit key (default: the cluster's name)")
    .option("--uid <uid>", "a uid of your own, a ULID that no cluster ever had")
    .option("--from <file>", "take what no option says from a cluster that 'cluster show -o yaml' printed; not its uid")
    .addOption(
      new Option("--rotation <kind>", "who promotes a new key version (default: auto)").choices(["auto", "manual"]),
    )
    .option("--requests-per-second <n>", "requests of all its nodes that last", wholeNumberBetween(1, 1_000_000))
    .option("--expect <node>", "the names of all its nodes, joined by commas or several times", several)
    .option("--issuer-ca <file>", "the only CA that may speak for the cluster, PEM; one of the gateways' tls.clientCa")
    .option("--label <key=value>", "a label, as gateways' serves and -l select by; several times", several)
    .option("--gateway <url>", gatewayHelp, several)
    .action((name: string, options: AddOptions) => add(name, options, terminal));
}
