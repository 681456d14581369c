// The only file that imports commander. Errors of a command are one line, never a stack trace.
import { KeyChangeError } from "@claviger/gateway-core/src/key/changes.ts";
import { EditError } from "@claviger/gateway-core/src/registry/edit/error.ts";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import { Argument, Command, CommanderError, InvalidArgumentError, Option } from "commander";

export { Argument, Command, InvalidArgumentError, Option };

/** The process, for what tries a program's start. */
export type Machine = {
  readonly pid: number;
  /** process.umask: sets the mask and returns the earlier one. */
  readonly setUmask: (mask: number) => number;
};

/** What a command may touch of the outside; main.ts makes it. */
export type Terminal = {
  readonly out: (line: string) => void;
  readonly err: (line: string) => void;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The user's home directory. */
  readonly home: string;
  /** Absent where no command is run that needs it. */
  readonly machine?: Machine;
};

/**
 * `waits`: a person is needed. `away`: what the command asks is not there now, and may be later. `unknown-caller`:
 * what the command has shown does not count, or not any more.
 */
export type ErrorKind = "failed" | "waits" | "away" | "unknown-caller";

/** What the user can put right. `message` says what is wrong and what to do; no secret in it. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly kind: ErrorKind;

  constructor(message: string, kind: ErrorKind = "failed") {
    super(message);
    this.kind = kind;
  }
}

/** Is its message written for whoever ran the command? */
export function isInWords(error: unknown): error is Error {
  return (
    error instanceof CliError ||
    error instanceof EditError ||
    error instanceof KeyChangeError ||
    error instanceof ConfigError
  );
}

/** Ends the command with a status; what went wrong is printed already. */
export class Exit extends Error {
  override readonly name = "Exit";
  readonly status: number;

  constructor(status: number) {
    super(`exit ${status}`);
    this.status = status;
  }
}

/** Collects an option that may stand several times. */
export function several(value: string, earlier: readonly string[] | undefined): readonly string[] {
  return [...(earlier ?? []), value];
}

/** A parser for an option that must be a number between two bounds. */
export function numberBetween(min: number, max: number) {
  return (text: string): number => {
    const value = Number(text);
    if (text.trim() === "" || !(value >= min && value <= max))
      throw new InvalidArgumentError(`Must be a number from ${min} to ${max}.`);
    return value;
  };
}

/** The same for a whole number. */
export function wholeNumberBetween(min: number, max: number) {
  const parse = numberBetween(min, max);
  return (text: string): number => {
    const value = parse(text);
    if (!Number.isInteger(value)) throw new InvalidArgumentError(`Must be a whole number from ${min} to ${max}.`);
    return value;
  };
}

/** The root command: writes through the terminal and throws instead of exiting. */
export function createRoot(terminal: Terminal): Command {
  return new Command()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.out(text.trimEnd()),
      writeErr: (text) => terminal.err(text.trimEnd()),
    })
    .showHelpAfterError("(add --help for the options)");
}

/**
 * The exit status that commander itself chose, when the error is its own (help, version, a wrong
 * option: already printed).
 */
export function commanderStatus(error: unknown): number | undefined {
  if (!(error instanceof CommanderError)) return undefined;
  return error.exitCode === 0 ? 0 : 2;
}
