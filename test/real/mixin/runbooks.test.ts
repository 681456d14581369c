// A page for each alert, with the same parts; every command in it is one that there is, with the options that it names.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { promisify } from "node:util";
import { knownMetrics, metricsIn } from "./metric-names.ts";

const root = join(import.meta.dirname, "..", "..", "..");
const folder = join(root, "docs", "runbooks");
const mains: Readonly<Record<string, string>> = {
  claviger: "gateway/cli/src/main.ts",
  "claviger-gateway": "gateway/server/src/main.ts",
  "claviger-shim": "shim/src/main.ts",
};
const pages = readdirSync(folder).map((file) => ({
  name: file.replace(/\.md$/, ""),
  text: readFileSync(join(folder, file), "utf8"),
}));
const run = promisify(execFile);

suite("The runbooks", () => {
  test("are one for each alert", () => {
    const alerts = readFileSync(join(root, "infra/mixin/alerts.yaml"), "utf8").matchAll(/alert: (\w+)/g);
    assert.deepEqual(pages.map(({ name }) => name).toSorted(), [...alerts].map(([, name = ""]) => name).toSorted());
  });

  test("say what it means, what suffers, what to look at and what to do", () => {
    for (const { name, text } of pages) {
      assert.ok(text.startsWith(`# ${name}\n\nSeverity: `), name);
      for (const part of ["**Meaning.** ", "**Impact.** ", "**Look at**\n* ", "**Do**\n* "])
        assert.ok(text.includes(part), `${name} lacks ${part}`);
    }
  });

  test("name metrics that there are", () => {
    const known = knownMetrics();
    const named = pages.flatMap(({ text }) =>
      [...text.matchAll(/`([^`]+)`/g)].flatMap(([, code = ""]) =>
        metricsIn(code).filter((name) => name.startsWith("claviger_")),
      ),
    );
    assert.ok(named.length > 15);
    assert.deepEqual(
      named.filter((name) => !known.has(name)),
      [],
    );
  });

  test("name commands that there are", async () => {
    const commands = new Map<string, Set<string>>();
    for (const { text } of pages)
      for (const [, code = ""] of text.matchAll(/`(claviger(?:-\w+)?(?: [^`]+)?)`/g)) {
        const words = code.split(" ");
        const end = words.findIndex((word, i) => (i > 0 && !/^[a-z-]+$/.test(word)) || word.startsWith("--"));
        const command = (end < 0 ? words : words.slice(0, end)).join(" ");
        const options = commands.get(command) ?? new Set();
        for (const word of words) if (word.startsWith("--")) options.add(word);
        commands.set(command, options);
      }
    assert.ok(commands.size > 12, [...commands.keys()].join(", "));
    const check = async (command: string, options: ReadonlySet<string>): Promise<void> => {
      const [program = "", ...words] = command.split(" ");
      const { stdout } = await run(process.execPath, [join(root, mains[program] ?? ""), ...words, "--help"]);
      if (program === "claviger") assert.ok(stdout.startsWith(`Usage: ${command} `), `${command}\n${stdout}`);
      for (const option of options) assert.ok(stdout.includes(option), `${command} ${option}`);
    };
    await Promise.all([...commands].map(([command, options]) => check(command, options)));
  });
});
