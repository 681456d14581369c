// `claviger node list` and `node show`: what the fleet service knows of nodes. (docs/control-plane.md.)
import { create } from "@bufbuild/protobuf";
import { type Node, NodeSchema } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import { parseDuration } from "@claviger/proto/runtime/duration.ts";
import { CliError, type Command, several, type Terminal } from "./commander.ts";
import { clientOptions, type ClientOptions, type FleetClient, withFleetService } from "./fleet-client.ts";
import { parseLabels } from "./labels.ts";
import {
  ageText,
  type Column,
  fieldsText,
  messageJson,
  outputOption,
  type OutputOptions,
  printOne,
  printRows,
  timeText,
} from "./output.ts";

type ListOptions = ClientOptions &
  OutputOptions & {
    readonly label?: readonly string[];
    readonly condition?: readonly string[];
    readonly phase?: readonly string[];
    readonly notSeenFor?: string;
  };

const pageSize = 1000;
const unknown = "-";

const phases = ["0 none", "1 ready on the last key_id", "2 healthz names the cause", "3 error"] as const;

/** What is left of its certificate's life, as of the answer. */
function certificateText({ certificateNotAfter: end, lastSeen, ageSeconds }: Node): string {
  if (end === undefined || lastSeen === undefined || ageSeconds === undefined) return unknown;
  const left = Number(end.seconds - lastSeen.seconds - ageSeconds);
  return left <= 0 ? "expired" : ageText(left);
}

function secondsText(seconds: bigint | undefined): string {
  return seconds === undefined ? unknown : ageText(Number(seconds));
}

const columns: readonly Column<Node>[] = [
  { head: "NODE", cell: ({ cluster, node }) => `${cluster}/${node}` },
  { head: "CONDITION", cell: ({ condition }) => condition },
  { head: "SEEN", cell: ({ ageSeconds }) => (ageSeconds === undefined ? "never" : `${secondsText(ageSeconds)} ago`) },
  { head: "PHASE", cell: ({ phase }) => String(phase ?? unknown) },
  { head: "CERTIFICATE", cell: certificateText },
  { head: "VERSION", cell: ({ shimVersion }) => shimVersion || unknown },
  // Enough to tell two of a cluster from each other; `show` has all of it.
  { head: "KEY_ID", cell: ({ keyId }) => keyId.slice(0, 13) || unknown },
  { head: "CONFIG", cell: ({ configHash }) => configHash.slice(0, 8) || unknown },
];

function showText(node: Node): string {
  const { phase, lastOutage: past, certificateSerial } = node;
  const outage =
    past === undefined
      ? unknown
      : `phase ${past.phase} for ${secondsText(past.seconds)}, ended ${timeText(past.endedAt)}`;
  return fieldsText([
    ["node", `${node.cluster}/${node.node}`],
    ["condition", node.condition],
    ["expected", node.expected ? "yes" : "the record does not list it"],
    ["revoked", node.revoked ? "yes" : "no"],
    [
      "last seen",
      node.lastSeen === undefined ? "never" : `${timeText(node.lastSeen)}, ${secondsText(node.ageSeconds)} ago`,
    ],
    ["by gateway", node.gateway || unknown],
    ["shim version", node.shimVersion || unknown],
    ["phase", phase === undefined ? unknown : (phases[phase] ?? String(phase))],
    ["key confirmed", node.secondsSinceGood === undefined ? unknown : `${secondsText(node.secondsSinceGood)} before`],
    ["last outage", outage],
    ["key_id", node.keyId || unknown],
    ["settings", node.configHash || unknown],
    ["certificate", certificateSerial || unknown],
    ["  from", timeText(node.certificateNotBefore) || unknown],
    ["  until", timeText(node.certificateNotAfter) || unknown],
  ]);
}

/** What an answer lacks goes to standard error: what is printed is no less true for it. */
export function sayIncomplete({ err }: Pick<Terminal, "err">, incomplete: string): void {
  if (incomplete !== "") err(`This is not all: ${incomplete}.`);
}

async function listAll(
  client: FleetClient,
  request: Parameters<FleetClient["listNodes"]>[0],
): Promise<{ readonly nodes: readonly Node[]; readonly incomplete: string }> {
  const nodes: Node[] = [];
  const reasons = new Set<string>();
  let pageToken = "";
  do {
    const page = await client.listNodes({ ...request, pageSize, pageToken });
    nodes.push(...page.nodes);
    if (page.incomplete !== "") reasons.add(page.incomplete);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return { nodes, incomplete: [...reasons].join("; ") };
}

async function list(cluster: string | undefined, options: ListOptions, terminal: Terminal): Promise<void> {
  const { label = [], condition = [], phase = [], notSeenFor = "0s" } = options;
  const ms = parseDuration(notSeenFor);
  if (ms === undefined) throw new CliError(`--not-seen-for ${notSeenFor} is no duration, such as 30m or 1h`);
  const wrong = phase.find((text) => !/^[0-3]$/.test(text));
  if (wrong !== undefined) throw new CliError(`--phase ${wrong} is none of 0, 1, 2 and 3`);
  const request = {
    cluster: cluster ?? "",
    matchLabels: parseLabels(label),
    conditions: [...condition],
    phases: phase.map(Number),
    notSeenForSeconds: BigInt(Math.round(ms / 1000)),
  };
  const { nodes, incomplete } = await withFleetService(options, terminal, (client) => listAll(client, request));
  printRows(terminal, options, { rows: nodes, columns, json: messageJson(NodeSchema), none: "there is no such node" });
  sayIncomplete(terminal, incomplete);
}

async function show(name: string, options: ClientOptions & OutputOptions, terminal: Terminal): Promise<void> {
  const [cluster = "", node = "", ...rest] = name.split("/");
  if (cluster === "" || node === "" || rest.length > 0)
    throw new CliError(`${JSON.stringify(name)} must be CLUSTER/NODE`);
  const reply = await withFleetService(options, terminal, (client) => client.getNode({ cluster, node }));
  const { node: found = create(NodeSchema, { cluster, node }), incomplete } = reply;
  printOne(terminal, options, { value: messageJson(NodeSchema)(found), text: () => showText(found) });
  sayIncomplete(terminal, incomplete);
}

/** Adds the commands to the group `node`. */
export function addNodeViewCommands(group: Command, terminal: Terminal): void {
  clientOptions(outputOption(group.command("list")))
    .argument("[cluster]", "of this cluster; of all where it is absent")
    .description("nodes that records name or gateways have seen, and how they were then")
    .option("-l, --label <key=value>", "of clusters that have this label; several times", several)
    .option(
      "--condition <condition>",
      "ok, outage, not_seen, missing, unexpected, revoked or unknown; several times",
      several,
    )
    .option("--phase <phase>", "in this phase of an outage when last seen, 0 to 3; several times", several)
    .option("--not-seen-for <duration>", "not seen for so long, or never")
    .action((cluster: string | undefined, options: ListOptions) => list(cluster, options, terminal));
  clientOptions(outputOption(group.command("show")))
    .argument("<node>", "CLUSTER/NODE")
    .description("all that is known of a node")
    .action((name: string, options: ClientOptions & OutputOptions) => show(name, options, terminal));
}
