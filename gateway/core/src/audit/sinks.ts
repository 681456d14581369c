// Where audit records go, as the configuration says. (docs/architecture.md #audit.)
import { assertAppendable, isDiscarded, openOutput } from "@claviger/proto/runtime/output.ts";
import type { SinkConfig } from "./config.ts";
import { createFileSink } from "./file-sink.ts";
import type { AuditSink } from "./port.ts";
import { createSyslogSink, type SyslogSender, fileProblems } from "./syslog.ts";

/**
 * Writes to a descriptor that belongs to the process, e.g. its standard output. A reader that has
 * gone is an error of the sink, not the end of the process.
 * @throws the system's error when the descriptor is not open
 */
export function createOutputSink(name: string, fd: number): AuditSink {
  const output = openOutput(fd);
  return { name, write: (lines) => output.write(lines), close: () => Promise.resolve() };
}

/** Opens none: a sink is opened by its first write. */
export function createSink(config: SinkConfig, sender: SyslogSender): AuditSink {
  switch (config.kind) {
    case "file":
      return createFileSink(config);
    case "stdout":
      return createOutputSink("stdout", 1);
    case "syslog":
    case "syslog-socket":
      return createSyslogSink(config, sender);
  }
}

/** What is wrong with a sink, as far as a start looks; the settings are those within it. */
export function problemsOf(sink: SinkConfig): readonly string[] {
  if (sink.kind === "stdout")
    return isDiscarded(1) ? [": standard output is closed or /dev/null: no record would be kept"] : [];
  if (sink.kind !== "file") return fileProblems(sink).map((line) => `.${line}`);
  try {
    assertAppendable(sink.path);
    return [];
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "unknown error";
    return [
      `: ${sink.path} cannot be written (${code}): its directory must be there, and it or the file be the gateway user's`,
    ];
  }
}

/**
 * Can the configured sinks be written to? What a start would find, without a start. Makes no file:
 * it might be the wrong user's. Calls no collector: one that is away is no reason not to start.
 * @returns one line for each that cannot
 */
export function checkSinks(sinks: readonly SinkConfig[]): readonly string[] {
  return sinks.flatMap((sink, i) => problemsOf(sink).map((line) => `audit.sinks.${i}${line}`));
}
