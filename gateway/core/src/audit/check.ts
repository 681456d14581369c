// What --check tries of the audit sinks: all but writing a record. (docs/architecture.md #audit.)
import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { type Check, CheckError, type Found } from "@claviger/proto/runtime/check.ts";
import { withPeerExpiry } from "@claviger/proto/runtime/check-peer.ts";
import { cureOfConnection, describeConnection } from "@claviger/proto/runtime/network.ts";
import type { SinkConfig } from "./config.ts";
import { problemsOf } from "./sinks.ts";
import { nameOf, tryCollector } from "./syslog.ts";

const mebibyte = 2 ** 20;
/** A disk with less room is full soon: a busy gateway writes as much in minutes. */
const leastRoom = 256 * mebibyte;

async function tryFile(path: string): Promise<Found<true>> {
  const { bavail, bsize } = await statfs(dirname(path));
  const room = Math.floor((bavail * bsize) / mebibyte);
  const found = `records can be appended; ${room} MiB are free there`;
  if (room * mebibyte >= leastRoom) return { found, value: true };
  const cure = "give it more room: without a sink that takes records a gateway serves nobody (audit.required)";
  return { found: "", value: true, more: [{ verdict: "warning", found, cure }] };
}

function nameOfSink(sink: SinkConfig): string {
  switch (sink.kind) {
    case "file":
      return `file ${sink.path}`;
    case "stdout":
      return "stdout";
    case "syslog":
    case "syslog-socket":
      return `syslog ${nameOf(sink)}`;
  }
}

async function trySink(sink: SinkConfig, signal: AbortSignal): Promise<Found<true>> {
  const [problem] = problemsOf(sink);
  if (problem !== undefined) throw new CheckError(problem.replace(/^[.:]\s*/, ""));
  switch (sink.kind) {
    case "file":
      return await tryFile(sink.path);
    case "stdout":
      return { found: "records go to the standard output of the process", value: true };
    case "syslog":
    case "syslog-socket":
      try {
        await tryCollector(sink);
      } catch (error) {
        const { code = "", message } = error as NodeJS.ErrnoException;
        throw new CheckError(describeConnection(code) ?? message, cureOfConnection(code));
      }
      return await withPeerExpiry(
        { found: "the collector takes connections", value: true },
        sink.kind === "syslog" ? [{ ...sink.node, serverName: sink.serverName }] : [],
        signal,
      );
  }
}

/** Adds a row for each sink. No record is written, no file is made. */
export async function checkAuditSinks(check: Check, sinks: readonly SinkConfig[]): Promise<void> {
  await Promise.all(sinks.map((sink) => check.step(`audit ${nameOfSink(sink)}`, (signal) => trySink(sink, signal))));
}
