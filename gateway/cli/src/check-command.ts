// `claviger check`: options and output; what is checked stands in check.ts.
import { resolve } from "node:path";
import { formatRows, isGood } from "@claviger/proto/runtime/check.ts";
import { checkPrograms } from "./check-programs.ts";
import { formatCheck, runCheck } from "./check.ts";
import { type Command, Exit, InvalidArgumentError, numberBetween, type Terminal } from "./commander.ts";
import { createKmsClient } from "./kms-client.ts";
import { probeSocket } from "./probe.ts";

type Options = {
  readonly socket: string;
  readonly timeout: number;
  readonly json: boolean;
  readonly operations?: readonly URL[];
};

/** Collects URLs. */
function urls(text: string, earlier: readonly URL[] | undefined): readonly URL[] {
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol))
    throw new InvalidArgumentError("Must be http://HOST:PORT.");
  return [...(earlier ?? []), new URL(text)];
}

/** Adds the command. */
export function addCheckCommand(root: Command, terminal: Terminal): void {
  root
    .command("check")
    .description("ask a KMS socket what kube-apiserver would ask (Status, Encrypt, Decrypt) and say what is wrong")
    .requiredOption("--socket <path>", "path of the shim's socket, with or without unix://")
    .option("--timeout <seconds>", "of each call, like the provider's timeout", numberBetween(0.01, 600), 3)
    .option(
      "--operations <url>",
      "second listener of the shim or a gateway: shows its certificates and failed handshakes; may be repeated",
      urls,
    )
    .option("--json", "print the report as JSON", false)
    .action(async (options: Options) => {
      const socket = resolve(options.socket.replace(/^unix:(?:\/\/)?/, ""));
      const timeoutMs = options.timeout * 1000;
      const report = await runCheck({
        socket,
        timeoutMs,
        probe: () => probeSocket(socket, timeoutMs),
        open: () => createKmsClient({ socket, timeoutMs }),
      });
      const programs = await checkPrograms(options.operations ?? []);
      if (options.json) terminal.out(JSON.stringify({ ...report, programs }, undefined, 2));
      else
        terminal.out(
          [formatCheck(report), ...(programs.length > 0 ? ["", formatRows(programs).trimEnd()] : [])].join("\n"),
        );
      if (!report.ok || !isGood(programs)) throw new Exit(1);
    });
}
