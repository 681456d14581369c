// Does what the steps of a page say, one after the other.
import assert from "node:assert/strict";
import { type LabProcess, logOf, type ProcessGroup, until } from "../../lab/process-group.ts";
import { isExpected } from "./expected.ts";
import type { Output, Step } from "./page.ts";
import { openShell, type Shell } from "./shell.ts";

/** Who follows the page. */
export type Reader = {
  /** What the first block of the page exports, as it is here. */
  readonly values: Readonly<Record<string, string>>;
  /** The environment of the shell. */
  readonly env: Readonly<Record<string, string>>;
  /** What runs before the first step and is started anew by one. */
  readonly machines?: Readonly<Record<string, LabProcess>>;
};

/** What a check finds: the reader's shell and directory, and when the last block had ended. */
export type World = {
  readonly shell: Shell;
  readonly work: string;
  readonly endedAt: () => number;
};

export type Checks = ReadonlyMap<string, () => Promise<void>>;

export type Follower = {
  /** @throws AssertionError with the page's line */
  follow(step: Step & { readonly line: number }): Promise<void>;
  readonly followed: () => number;
  /** The checks of which no step had the name. */
  readonly checksLeft: () => readonly string[];
};

const exportLine = /\bexport [^\n]*/g;
const assignment = /(\w+)=("[^"]*"|\S+)/g;

/** The first block with the values of here, and what stood there before. */
function fillIn(
  script: string,
  values: Readonly<Record<string, string>>,
): { readonly script: string; readonly given: ReadonlyMap<string, string> } {
  const given = new Map<string, string>();
  const filled = script.replaceAll(exportLine, (line) =>
    line.replaceAll(assignment, (whole, name: string, value: string) => {
      const here = values[name];
      if (here === undefined) return whole;
      given.set(name, value);
      return `${name}='${here}'`;
    }),
  );
  assert.deepEqual([...given.keys()].toSorted(), Object.keys(values).toSorted(), "the first block exports other names");
  return { script: filled, given };
}

export function openFollower({
  processes,
  reader,
  work,
  state,
  createChecks,
}: {
  readonly processes: ProcessGroup;
  readonly reader: Reader;
  /** The reader's directory, new and empty. */
  readonly work: string;
  readonly state: string;
  readonly createChecks: (world: World) => Checks;
}): Follower {
  const shell = openShell(work, state, reader.env);
  const machines = new Map(Object.entries(reader.machines ?? {}));
  let endedAt = performance.now();
  const checks = createChecks({ shell, work, endedAt: () => endedAt });
  const made = new Set<string>();
  let count = 0;
  let given: ReadonlyMap<string, string> | undefined;

  /** The text with the page's own values in place of those of here. */
  const asOnPage = (text: string): string =>
    [...(given ?? [])]
      .filter(([name]) => name !== "QUIET")
      .toSorted(([a], [b]) => (reader.values[b]?.length ?? 0) - (reader.values[a]?.length ?? 0))
      .reduce((now, [name, value]) => now.replaceAll(reader.values[name] ?? "", value), text);
  const compare = (printed: string, output: Output | undefined): void => {
    if (output !== undefined && !isExpected(asOnPage(printed), output.text))
      assert.fail(`line ${output.line}: the page says\n${output.text}\nand this was printed:\n${asOnPage(printed)}`);
  };

  const run = async ({ script, fails, output }: Step & { kind: "run" }, line: number): Promise<void> => {
    let text = script;
    if (given === undefined) ({ script: text, given } = fillIn(script, reader.values));
    const { status, out } = await shell.run(text);
    endedAt = performance.now();
    assert.equal(status !== 0, fails, `line ${line}: ended with status ${status} and printed\n${out}`);
    compare(out, output);
  };
  const start = async ({ name, script, output }: Step & { kind: "machine" }, line: number): Promise<void> => {
    const running = machines.get(name);
    if (running !== undefined) await processes.stop(running, 20_000);
    const proc = processes.start(name, shell.elsewhere(script));
    machines.set(name, proc);
    if (output === undefined) return;
    await until(`line ${line}: ${name} to print what the page says`, proc, () =>
      isExpected(asOnPage(logOf(proc)), output.text) ? true : undefined,
    );
  };

  return {
    async follow(step) {
      count++;
      switch (step.kind) {
        case "run":
          return await run(step, step.line);
        case "machine":
          return await start(step, step.line);
        case "check": {
          const check = checks.get(step.name);
          assert.ok(check !== undefined, `line ${step.line}: there is no check ${step.name}`);
          made.add(step.name);
          return await check();
        }
      }
    },
    followed: () => count,
    checksLeft: () => [...checks.keys()].filter((name) => !made.has(name)),
  };
}
