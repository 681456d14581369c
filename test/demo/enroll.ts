// How the demo's node comes to its certificate: an operator's token, once, and a key that is made on the node.
import { execFile } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { runCli } from "@claviger/cli/src/run.ts";
import type { Output } from "./output.ts";
import { type Fleet, node, ours } from "./setup.ts";

const shim = join(import.meta.dirname, "..", "..", "shim", "src", "main.ts");

/** Enrolls the node with the fleet service, and shows how. */
export async function enrollNode({
  output,
  fleet,
  fleetUrl,
  dir,
}: {
  readonly output: Output;
  readonly fleet: Fleet;
  readonly fleetUrl: string;
  /** For the token. */
  readonly dir: string;
}): Promise<void> {
  const name = `${ours}/${node}`;
  output.step(`Node ${name} gets its certificate from the fleet service, for a token that is good once`);
  const file = join(dir, "token");
  const token = ["node", "token", name, "--reason", "a new control-plane node"];
  const config = await fleet.operatorConfig(fleetUrl);
  output.command(`npx claviger ${token.slice(0, 4).join(" ")} '${token[4] ?? ""}' --config ${config} > ${file}`);
  const [out, err]: [string[], string[]] = [[], []];
  const status = await runCli([...token, "--config", config], {
    out: (line) => void out.push(line),
    err: (line) => void err.push(line),
    env: process.env,
    home: homedir(),
  });
  if (status !== 0) throw new Error(`claviger node token ended with status ${status}: ${err.join("\n")}`);
  await writeFile(file, out.join("\n"), { mode: 0o600 });
  const pin = /--ca-pin (sha256:[0-9a-f]{64})/.exec(err.join("\n"))?.[1] ?? "";
  const options = ["--url", fleetUrl, "--token-file", file, "--ca-pin", pin, "--dir", fleet.nodeDir];
  output.command(`claviger-shim enroll ${options.join(" ")}`);
  await promisify(execFile)(process.execPath, [shim, "enroll", ...options], { env: { PATH: process.env["PATH"] } });
  const { subjectAltName, validTo } = new X509Certificate(await readFile(join(fleet.nodeDir, "node.pem")));
  output.fact("certificate", `${subjectAltName ?? ""}, until ${new Date(validTo).toISOString()}`);
  output.say(
    "The key was made on the node and has not left it. The shim renews the certificate before a third of its life",
  );
  output.say("is left. The token can do nothing any more, and the fleet service may be away from here on.");
}
