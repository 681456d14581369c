// `claviger check`: options and output; what is checked stands in check.ts.
import { resolve } from "node:path";
import { formatCheck, runCheck } from "./check.ts";
import { type Command, Exit, numberBetween, type Terminal } from "./commander.ts";
import { createKmsClient } from "./kms-client.ts";
import { probeSocket } from "./probe.ts";

/** Adds the command. */
export function addCheckCommand(root: Command, terminal: Terminal): void {
  root
    .command("check")
    .description("ask a KMS socket what kube-apiserver would ask (Status, Encrypt, Decrypt) and say what is wrong")
    .requiredOption("--socket <path>", "path of the shim's socket, with or without unix://")
    .option("--timeout <seconds>", "of each call, like the provider's timeout", numberBetween(0.01, 600), 3)
    .option("--json", "print the report as JSON", false)
    .action(async (options: { readonly socket: string; readonly timeout: number; readonly json: boolean }) => {
      const socket = resolve(options.socket.replace(/^unix:(?:\/\/)?/, ""));
      const timeoutMs = options.timeout * 1000;
      const report = await runCheck({
        socket,
        timeoutMs,
        probe: () => probeSocket(socket, timeoutMs),
        open: () => createKmsClient({ socket, timeoutMs }),
      });
      terminal.out(options.json ? JSON.stringify(report, undefined, 2) : formatCheck(report));
      if (!report.ok) throw new Exit(1);
    });
}
