// `claviger fleet gateways`: what gateways say of themselves. (docs/control-plane.md.)
import { type Gateway, GatewaySchema } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import type { Command, Terminal } from "./commander.ts";
import { clientOptions, type ClientOptions, withFleetService } from "./fleet-client.ts";
import { sayIncomplete } from "./node-view-commands.ts";
import { ageText, type Column, messageJson, outputOption, type OutputOptions, printRows } from "./output.ts";

/** `main 2/3`: how many addresses of each backend serve; the name alone where it has none. */
function backendsText({ backends }: Gateway): string {
  return backends
    .map(({ name, addressesUp: up, addressesDown: down }) => {
      const all = up.length + down.length;
      return all === 0 ? name : `${name} ${up.length}/${all}`;
    })
    .join(", ");
}

/** Of the certificate that ends first, as of the answer. */
function certificateText({ certificates, lastSeen, ageSeconds }: Gateway): string {
  const ends = certificates.flatMap(({ until }) => (until === undefined ? [] : [Number(until.seconds)]));
  if (ends.length === 0 || lastSeen === undefined) return "-";
  const left = Math.min(...ends) - Number(lastSeen.seconds + ageSeconds);
  return left <= 0 ? "expired" : ageText(left);
}

function problemsText({ problems, certificates }: Gateway): string {
  return [
    ...Object.entries(problems).map(([check, text]) => `${check}: ${text}`),
    ...certificates.flatMap(({ role, problem }) => (problem === "" ? [] : [`${role}: ${problem}`])),
  ].join("; ");
}

const columns: readonly Column<Gateway>[] = [
  { head: "GATEWAY", cell: ({ name }) => name },
  { head: "VERSION", cell: ({ version }) => version },
  { head: "SEEN", cell: ({ ageSeconds }) => `${ageText(Number(ageSeconds))} ago` },
  { head: "BUSY", cell: ({ eventLoop }) => (eventLoop === undefined ? "-" : `${Math.round(eventLoop * 100)}%`) },
  { head: "CONNECTIONS", cell: ({ connections }) => String(connections) },
  { head: "BACKENDS", cell: backendsText },
  { head: "CERTIFICATE", cell: certificateText },
  { head: "PROBLEMS", cell: (gateway) => problemsText(gateway) || "none" },
];

/** Adds the command to the group `fleet`. */
export function addGatewayViewCommand(group: Command, terminal: Terminal): void {
  clientOptions(outputOption(group.command("gateways")))
    .description("the gateways, how busy they are, and what is not ok")
    .action(async (options: ClientOptions & OutputOptions) => {
      const reply = await withFleetService(options, terminal, (client) => client.listGateways({}));
      const { gateways: rows, incomplete } = reply;
      const none = "no gateway has reported itself in a quarter of an hour";
      printRows(terminal, options, { rows, columns, json: messageJson(GatewaySchema), none });
      sayIncomplete(terminal, incomplete);
    });
}
