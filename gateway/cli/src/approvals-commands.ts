// `claviger approvals`: changes that wait for a second administrator. (docs/control-plane.md.)
import { type Approval, ApprovalSchema } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import { printable } from "@claviger/proto/runtime/table.ts";
import type { Command, Terminal } from "./commander.ts";
import { clientOptions, type ClientOptions, withFleetService } from "./fleet-client.ts";
import {
  type Column,
  fieldsText,
  messageJson,
  outputOption,
  type OutputOptions,
  printOne,
  printRows,
  timeText,
} from "./output.ts";

const json = messageJson(ApprovalSchema);

function targetsOf({ targets }: Approval): string {
  return targets.map(({ cluster }) => cluster).join(",");
}

const columns: readonly Column<Approval>[] = [
  { head: "ID", cell: ({ id }) => id },
  { head: "STATE", cell: ({ state }) => state },
  { head: "WHAT", cell: ({ kinds }) => kinds.join(",") },
  { head: "CLUSTER", cell: targetsOf },
  { head: "ASKED BY", cell: ({ requestedBy }) => requestedBy },
  { head: "UNTIL", cell: ({ expiresAt }) => timeText(expiresAt) },
  { head: "REASON", cell: ({ reason }) => reason },
];

/** All of it, for whoever is to decide. */
function approvalText(approval: Approval): string {
  const { id, state, kinds, method, request, targets, reason, note, decidedBy } = approval;
  const fields: readonly (readonly [name: string, value: string])[] = [
    ["id", id],
    ["state", state],
    ["what", kinds.join(", ")],
    ...targets.map(
      ({ cluster, uid, generation }) => ["cluster", `${cluster}, uid ${uid}, generation ${generation}`] as const,
    ),
    ["method", method],
    ["request", request],
    ["asked by", approval.requestedBy],
    ["asked at", timeText(approval.requestedAt)],
    ["until", timeText(approval.expiresAt)],
    ["reason", reason],
    ["decided by", decidedBy],
    ["decided at", timeText(approval.decidedAt)],
    ["note", note],
  ];
  return fieldsText(fields.filter(([, value]) => value !== "").map(([name, value]) => [name, printable(value)]));
}

/** What a reply holds; the service sends no reply without one. */
function found(approval: Approval | undefined): Approval {
  if (approval === undefined) throw new TypeError("a reply without an approval");
  return approval;
}

type ListOptions = ClientOptions & OutputOptions & { readonly all: boolean };
type ShowOptions = ClientOptions & OutputOptions;
type RejectOptions = ClientOptions & { readonly reason: string };

/** Adds the group. */
export function addApprovalsCommands(root: Command, terminal: Terminal): void {
  const group = root.command("approvals").description("changes that wait for a second administrator");

  outputOption(clientOptions(group.command("list")))
    .description("list what waits, newest first")
    .option("--all", "those of the last seven days that wait no longer as well", false)
    .action(async (options: ListOptions) => {
      const { approvals } = await withFleetService(options, terminal, (client) =>
        client.listApprovals({ all: options.all }),
      );
      printRows(terminal, options, {
        rows: approvals,
        columns,
        json,
        none: "nothing waits for a second administrator",
      });
    });

  outputOption(clientOptions(group.command("show")))
    .argument("<id>")
    .description("show one of them, with the request as it will be made")
    .action(async (id: string, options: ShowOptions) => {
      const { approval } = await withFleetService(options, terminal, (client) => client.getApproval({ id }));
      const one = found(approval);
      printOne(terminal, options, { value: json(one), text: () => approvalText(one) });
    });

  clientOptions(group.command("approve"))
    .argument("<id>")
    .description("make the change, in the name of whoever asked for it")
    .action(async (id: string, options: ClientOptions) => {
      const { approval } = await withFleetService(options, terminal, (client) => client.approveChange({ id }));
      const one = found(approval);
      terminal.out(`${one.method} of ${targetsOf(one)}, which ${one.requestedBy} asked for, is done.`);
    });

  clientOptions(group.command("reject"))
    .argument("<id>")
    .description("end it: the change is not made")
    .requiredOption("--reason <text>", "why, for the audit record")
    .action(async (id: string, options: RejectOptions) => {
      const { reason } = options;
      await withFleetService(options, terminal, (client) => client.rejectChange({ id, reason }));
      terminal.out(`${id} is rejected; nothing was changed.`);
    });
}
