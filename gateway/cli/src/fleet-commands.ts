// `claviger fleet`: the fleet as a whole, as the fleet service knows it. (docs/control-plane.md.)
import {
  type Attention,
  AttentionSchema,
  type GetFleetStatusResponse,
  GetFleetStatusResponseSchema,
} from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import { formatTable, printable } from "@claviger/proto/runtime/table.ts";
import { type Command, Exit, several, type Terminal } from "./commander.ts";
import { clientOptions, type ClientOptions, withFleetService } from "./fleet-client.ts";
import { addGatewayViewCommand } from "./gateway-view-command.ts";
import { parseLabels } from "./labels.ts";
import { sayIncomplete } from "./node-view-commands.ts";
import { messageJson, outputOption, type OutputOptions, printOne, timeText } from "./output.ts";

type Options = ClientOptions & OutputOptions & { readonly label?: readonly string[]; readonly attention: boolean };

/** A person is needed. */
const attentionStatus = 3;
const mostItems = 1000;
const shownItems = 20;

function itemText({ severity, target, cause, since, command }: Attention): string {
  const when = since === undefined ? "" : `, since ${timeText(since)}`;
  return `${severity.padEnd(8)}  ${printable(target)}: ${printable(cause)}${when}\n          ${printable(command)}`;
}

function itemsText(items: readonly Attention[], total: number): string {
  const more = total - items.length;
  return [...items.map(itemText), ...(more > 0 ? [`and ${more} more`] : [])].join("\n");
}

function countsText(counts: Readonly<Record<string, number>>): string {
  const all = Object.entries(counts).map(([name, count]) => `${count} ${name}`);
  return all.length === 0 ? "none" : all.join(", ");
}

function statusText(status: GetFleetStatusResponse): string {
  const { clusters, nodes, phases, expiringCertificates, attention, attentionTotal } = status;
  const inPhase = Object.fromEntries(Object.entries(phases).map(([phase, count]) => [`in phase ${phase}`, count]));
  const numbers = formatTable(
    ["CLUSTERS", countsText(clusters)],
    [
      ["NODES", countsText(nodes)],
      ["  seen lately", countsText(inPhase)],
      ["  shims", countsText(status.shimVersions)],
      ["  certificates", `${expiringCertificates} with less than a third of their life left`],
      ["KEYS", `${status.oldKeys} older than the policy allows`],
      ["GATEWAYS", countsText(status.gatewayVersions)],
      ["ATTENTION", attentionTotal === 0 ? "nothing needs a person" : String(attentionTotal)],
    ],
  );
  return attentionTotal === 0 ? numbers : `${numbers}\n\n${itemsText(attention.slice(0, shownItems), attentionTotal)}`;
}

async function showStatus(options: Options, terminal: Terminal): Promise<void> {
  const request = { matchLabels: parseLabels(options.label ?? []), attentionSize: mostItems };
  const status = await withFleetService(options, terminal, (client) => client.getFleetStatus(request));
  const { attention: items, attentionTotal, incomplete } = status;
  if (!options.attention) {
    const value = messageJson(GetFleetStatusResponseSchema)(status);
    printOne(terminal, options, { value, text: () => statusText(status) });
    return sayIncomplete(terminal, incomplete);
  }
  if (options.output !== "table" || items.length > 0)
    printOne(terminal, options, {
      value: items.map(messageJson(AttentionSchema)),
      text: () => itemsText(items, attentionTotal),
    });
  sayIncomplete(terminal, incomplete);
  if (attentionTotal > 0) throw new Exit(attentionStatus);
  return undefined;
}

/** Adds `fleet status` and `fleet gateways`. */
export function addFleetCommands(group: Command, terminal: Terminal): void {
  addGatewayViewCommand(group, terminal);
  clientOptions(outputOption(group.command("status")))
    .description("clusters, nodes and gateways in numbers, and what needs a person")
    .option("-l, --label <key=value>", "of clusters that have this label; several times", several)
    .option(
      "--attention",
      "only what needs a person, the most urgent first; exit status 3 where there is something",
      false,
    )
    .action((options: Options) => showStatus(options, terminal));
}
