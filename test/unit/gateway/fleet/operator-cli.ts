// An operator's CLI at a fleet service: a context that names the service alone, and files of a certificate.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { runCli } from "@claviger/cli/src/run.ts";
import type { Credentials } from "./call.ts";
import type { World } from "./world.ts";

export type Ran = { readonly status: number; readonly out: string; readonly err: string };
export type OperatorCli = {
  (...args: readonly string[]): Promise<Ran>;
  /** Options that say the same without a context. */
  readonly options: readonly string[];
};

/** @param name of the operator, for the files */
export function operatorCli(world: World, name: string, credentials: Credentials): OperatorCli {
  const file = (suffix: string, text: string): string => {
    const path = join(world.dir, `${name}.${suffix}`);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  if (credentials === undefined || !("cert" in credentials)) throw new TypeError(`${name} has no certificate`);
  const [ca, cert, key] = [file("ca", world.ca.cert), file("crt", credentials.cert), file("key", credentials.key)];
  const fleet = { url: world.url, ca, cert, key };
  const config = file("yaml", JSON.stringify({ current: "test", contexts: { test: { fleet } } }));
  const run = async (...args: readonly string[]): Promise<Ran> => {
    const [out, err]: [string[], string[]] = [[], []];
    const status = await runCli(args, {
      out: (line) => out.push(line),
      err: (line) => err.push(line),
      env: args.includes("--fleet") ? {} : { CLAVIGER_CONFIG: config },
      home: world.dir,
    });
    return { status, out: out.join("\n"), err: err.join("\n") };
  };
  return Object.assign(run, { options: ["--fleet", world.url, "--ca", ca, "--cert", cert, "--key", key] });
}
