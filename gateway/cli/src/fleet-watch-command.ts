// `claviger fleet watch`: what happens in the fleet, as it happens. (docs/control-plane.md.)
import { setTimeout as pause } from "node:timers/promises";
import { type WatchEventsResponse, WatchEventsResponseSchema } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import { printable } from "@claviger/proto/runtime/table.ts";
import { CliError, type Command, Option, type Terminal } from "./commander.ts";
import { clientOptions, type ClientOptions, withFleetService } from "./fleet-client.ts";
import { messageJson, timeText } from "./output.ts";

type WatchOptions = ClientOptions & {
  readonly output: "table" | "json";
  readonly cursor: string;
  readonly retry: boolean;
};

/** Between two tries while the service is away. */
const retryMs = 2000;

const json = messageJson(WatchEventsResponseSchema);

/** One line for people. */
export function eventLine(event: WatchEventsResponse): string {
  const { at, kind, cluster, node, serials, record, operator, reason, approval, phase, previousPhase } = event;
  const target = [cluster, node].filter((part) => part !== "").join("/");
  const more = [
    ...serials.map((serial) => `serial ${serial}`),
    ...(record === undefined ? [] : [`state ${record.state}`, `generation ${record.generation}`]),
    ...(phase === undefined ? [] : [`phase ${phase}`]),
    ...(previousPhase === undefined ? [] : [`was ${previousPhase}`]),
    ...(approval === "" ? [] : [`approval ${approval}`]),
    ...(operator === "" ? [] : [`by ${operator}`]),
    ...(reason === "" ? [] : [`(${reason})`]),
  ];
  return printable([timeText(at), kind, target, ...more].filter((part) => part !== "").join(" "));
}

/** Adds the command to the group `fleet`. */
export function addWatchCommand(group: Command, terminal: Terminal): void {
  clientOptions(group.command("watch"))
    .description("print what happens in the fleet, as it happens, until it is interrupted")
    .addOption(
      new Option("-o, --output <format>", "json: an object a line, heartbeats too")
        .choices(["table", "json"])
        .default("table"),
    )
    .option("--cursor <cursor>", "go on after the event with this cursor", "")
    .option("--no-retry", "end where the service cannot be reached or ends, instead of trying again")
    .action(async (options: WatchOptions) => {
      let { cursor } = options;
      let isFollowing = false;
      const show = (event: WatchEventsResponse): void => {
        ({ cursor } = event);
        isFollowing = true;
        if (options.output === "json") return terminal.out(JSON.stringify(json(event)));
        if (event.kind === "list-again") return terminal.err("what happened before this is not known; list again");
        if (event.kind !== "heartbeat") terminal.out(eventLine(event));
      };
      for (;;)
        try {
          await withFleetService(options, terminal, async (client) => {
            // It lasts.
            for await (const event of client.watchEvents({ cursor }, { timeoutMs: 0 })) show(event);
          });
          throw new CliError("the fleet service has ended the stream", "away");
        } catch (error) {
          // A token ends in the middle; the next call shows the one that has followed it, if there is one.
          const isOver = error instanceof CliError && error.kind === "unknown-caller" && isFollowing;
          isFollowing = false;
          if (isOver && options.retry) continue;
          if (!(error instanceof CliError) || error.kind !== "away" || !options.retry) throw error;
          terminal.err(`${error.message}; trying again`);
          await pause(retryMs);
        }
    });
}
