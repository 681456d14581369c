// `claviger audit verify`: are these records what the gateways wrote, all of them, in order?
// (docs/architecture.md #audit.)
import type { KeyObject } from "node:crypto";
import type { Finding, Report } from "@claviger/gateway-core/src/audit/findings.ts";
import { createVerifier, type VerifyKeys } from "@claviger/gateway-core/src/audit/verify.ts";
import type { Signer } from "@claviger/gateway-core/src/backend/port.ts";
import {
  type IntegrityConfig,
  integrityKey,
  integrityKeyFor,
  integrityRef,
} from "@claviger/gateway-core/src/key/integrity.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { type Command, Exit, numberBetween, Option, type Terminal } from "../commander.ts";
import { openFleet } from "../fleet.ts";
import { type FleetOptions, fleetOptions } from "../target.ts";
import { BrokenFile, inOrder, readLines } from "./files.ts";

type VerifyOptions = FleetOptions & {
  readonly output: "table" | "json";
  readonly offline: boolean;
  readonly keyVersion?: number;
};

const callMs = 10_000;
const progressMs = 2000;

const noKeys: VerifyKeys = { key: () => Promise.resolve(undefined), sign: undefined };

/** Undefined where the backend knows no such version. */
async function orNothing<T>(result: Promise<T>): Promise<T | undefined> {
  try {
    return await result;
  } catch (error) {
    const isMissing = error instanceof KmsError && /^(?:key_missing|backend_protocol_error)$/.test(error.reason);
    if (!isMissing) throw error;
    return undefined;
  }
}

/** Keys are derived and signatures asked for with the operator's own right to. */
function keysOf(signer: Signer, config: IntegrityConfig): VerifyKeys {
  const keys = new Map<number, Promise<KeyObject | undefined>>();
  const derive = async (version: number): Promise<KeyObject | undefined> => {
    const secret = integrityKey(signer, { ...config, version }, AbortSignal.timeout(callMs));
    // A version that a line names may be made up; that of the configuration must be there.
    const known = version === config.version ? await secret : await orNothing(secret);
    return known && integrityKeyFor("audit", known);
  };
  return {
    key: (version = config.version) => {
      const key = keys.get(version) ?? derive(version);
      keys.set(version, key);
      return key;
    },
    sign: (input, version) => orNothing(signer.hmac(integrityRef(config), version, input, AbortSignal.timeout(callMs))),
  };
}

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
          : await fleet.withBackend(config.backend, (backend) => verify(files, keysOf(backend, config), terminal));
      terminal.out(options.output === "json" ? JSON.stringify(report, undefined, 2) : formatReport(report));
      if (report.findings.length > 0) throw new Exit(1);
      if (report.unchecked.length > 0) throw new Exit(3);
    });
}
