// `claviger audit verify`: are these records what the gateways wrote, all of them, in order?
// (docs/architecture.md #audit.)
import type { Finding, Report } from "@claviger/gateway-core/src/audit/findings.ts";
import { createVerifier, type VerifyKeys } from "@claviger/gateway-core/src/audit/verify.ts";
import { createVerifyKeys } from "@claviger/gateway-core/src/key/verify-keys.ts";
import { type Command, Exit, numberBetween, Option, type Terminal } from "../commander.ts";
import { openFleet } from "../fleet.ts";
import { type FleetOptions, fleetOptions } from "../target.ts";
import { BrokenFile, inOrder, readLines } from "./files.ts";

type VerifyOptions = FleetOptions & {
  readonly output: "table" | "json";
  readonly offline: boolean;
  readonly keyVersion?: number;
};

const progressMs = 2000;

const noKeys: VerifyKeys = { key: () => Promise.resolve(undefined), sign: undefined };

async function verify(files: readonly string[], keys: VerifyKeys, terminal: Terminal): Promise<Report> {
  const verifier = createVerifier(keys);
  let records = 0;
  let saidAt = performance.now();
  for (const file of await inOrder(files)) {
    let line = 0;
    let cut: string | undefined;
    try {
      for await (const lines of readLines(file)) {
        for (const bytes of lines) await verifier.line({ file, line: ++line }, bytes);
        records += lines.length;
        if (performance.now() - saidAt < progressMs) continue;
        saidAt = performance.now();
        terminal.err(`${records} records so far, in ${file}`);
      }
    } catch (error) {
      if (!(error instanceof BrokenFile)) throw error;
      cut = error.message;
    }
    verifier.endOfFile({ file, line }, cut);
  }
  return await verifier.finish();
}

function recordsOf({ first, last, chain }: Finding): string {
  if (chain === undefined || last === undefined) return "";
  const of = ` of chain ${chain}`;
  if (first === undefined || first === last) return `record ${last}${of} `;
  return `records ${first} to ${last}${of} `;
}

/** What a person reads. */
export function formatReport({ records, findings, more, remarks, unchecked, chains }: Report): string {
  const lines = findings.map((one) => `${one.file}:${one.line}: ${one.kind}: ${recordsOf(one)}${one.text}`);
  if (more > 0) lines.push(`and ${more} more`);
  if (remarks.length > 0) lines.push(...remarks.map(({ file, line, text }) => `${file}:${line}: note: ${text}`));
  for (const { chain, replica, records: count, from, until, isEnded, signed } of chains) {
    const end = isEnded ? "ended" : "without an end (it goes on, was killed, or its end was cut off)";
    const by =
      signed === undefined ? "no head of it is signed" : `signed up to record ${signed.sequence}, at ${signed.time}`;
    lines.push(
      `chain ${chain} of ${replica ?? "an unknown replica"}: ${count} records, ${from} to ${until}, ${end}; ${by}`,
    );
  }
  lines.push(...unchecked.map((text) => `not checked: ${text}`));
  const total = findings.length + more;
  if (total > 0) lines.push(`${records} records: TAMPERED WITH, in ${total} place${total === 1 ? "" : "s"}`);
  else if (unchecked.length > 0)
    lines.push(`${records} records: no sign of tampering, but not everything could be checked`);
  else lines.push(`${records} records: as they were written`);
  return lines.join("\n");
}

/** Adds `audit verify`. */
export function addVerifyCommand(group: Command, terminal: Terminal): void {
  fleetOptions(
    group
      .command("verify")
      .argument("<file...>", "audit files of one gateway, rotated ones and .gz too, in any order")
      .description(
        "say whether audit records are what the gateway wrote: nothing edited, inserted, removed, reordered, repeated or cut off. Status 0: yes; 1: no; 3: no sign of it, but not everything could be checked",
      ),
  )
    .addOption(new Option("-o, --output <form>", "how to print").choices(["table", "json"]).default("table"))
    .option("--offline", "do not ask Vault: checks only what needs no key", false)
    .option(
      "--key-version <n>",
      "the version of the integrity key, for files that do not name it (default: of the configuration)",
      numberBetween(1, 1_000_000),
    )
    .action(async (files: readonly string[], options: VerifyOptions) => {
      const { config: file, lab, context } = options;
      const named = [file, lab, context, terminal.env["CLAVIGER_CONFIG"], terminal.env["CLAVIGER_CONTEXT"]];
      const isNamed = named.some((one) => one !== undefined && one !== "");
      const fleet = options.offline || !isNamed ? undefined : openFleet(options, terminal);
      const integrity = fleet?.config.integrity;
      const config = integrity && { ...integrity, version: options.keyVersion ?? integrity.version };
      const report =
        fleet === undefined || config === undefined
          ? await verify(files, noKeys, terminal)
          : await fleet.withBackend(config.backend, (backend) =>
              verify(files, createVerifyKeys(backend, config), terminal),
            );
      terminal.out(options.output === "json" ? JSON.stringify(report, undefined, 2) : formatReport(report));
      if (report.findings.length > 0) throw new Exit(1);
      if (report.unchecked.length > 0) throw new Exit(3);
    });
}
