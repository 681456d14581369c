// The rules of infra/mixin, as promtool and the code see them: each alert has been made to fire and to be silent, and
// names nothing that the programs do not show.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { promisify } from "node:util";
import { isTree, parseYaml } from "@claviger/proto/runtime/config.ts";
import { reasons } from "@claviger/proto/wire/errors.ts";
import { knownMetrics, metricsIn } from "./metric-names.ts";

const run = promisify(execFile);
const root = join(import.meta.dirname, "..", "..", "..");
const mixin = join(root, "infra", "mixin");
const files = ["alerts.yaml", "recording.yaml"];
const textOf = (file: string): string => readFileSync(join(mixin, file), "utf8");

function treesOf(value: unknown): readonly Readonly<Record<string, unknown>>[] {
  return Array.isArray(value) ? value.filter(isTree) : [];
}
const rulesOf = (file: string) => {
  const tree = parseYaml(file, textOf(file));
  return treesOf(isTree(tree) ? tree["groups"] : []).flatMap((group) => treesOf(group["rules"]));
};
const alerts = rulesOf("alerts.yaml");
const records = rulesOf("recording.yaml");

suite("The rules", () => {
  test("are rules to promtool, with nothing to complain of", async () => {
    const { stdout } = await run("promtool", ["check", "rules", "--lint=all", "--lint-fatal", ...files], {
      cwd: mixin,
    });
    assert.ok(
      stdout.includes(`${alerts.length} rules found`) && stdout.includes(`${records.length} rules found`),
      stdout,
    );
  });

  test("are at least eighteen alerts, each with a severity, a summary, a description and its runbook", () => {
    assert.ok(alerts.length >= 18);
    for (const { alert, labels, annotations } of alerts) {
      assert.ok(isTree(labels) && isTree(annotations), String(alert));
      assert.match(String(labels["severity"]), /^(?:critical|warning)$/, String(alert));
      for (const name of ["summary", "description"]) {
        const text = annotations[name];
        assert.ok(typeof text === "string" && text.length > 10, String(alert));
      }
      assert.equal(annotations["runbook_url"], `docs/runbooks/${String(alert)}.md`);
    }
  });

  const tests = readdirSync(join(mixin, "tests"));
  test("do in promtool's unit tests what these say", async () => {
    await Promise.all(tests.map((file) => run("promtool", ["test", "rules", file], { cwd: join(mixin, "tests") })));
  });

  test("have a unit test in which each alert fires and one in which it does not", () => {
    const seen = tests.flatMap((file) => {
      const tree = parseYaml(file, textOf(join("tests", file)));
      return treesOf(isTree(tree) ? tree["tests"] : []).flatMap((one) =>
        treesOf(one["alert_rule_test"]).map(
          ({ alertname, exp_alerts }) => `${String(alertname)} ${treesOf(exp_alerts).length > 0 ? "fires" : "silent"}`,
        ),
      );
    });
    const wanted = alerts.flatMap(({ alert }) => [`${String(alert)} fires`, `${String(alert)} silent`]);
    assert.deepEqual([...new Set(seen)].toSorted(), wanted.toSorted());
  });

  test("name only metrics of docs/reference/metrics.md, and series that they record", () => {
    const known = knownMetrics();
    const named = [...alerts, ...records].flatMap(({ expr }) => metricsIn(String(expr)));
    assert.ok(named.length > 50);
    assert.deepEqual(
      [...new Set(named)].filter((name) => !known.has(name)),
      [],
    );
  });

  test("leave out of the Decrypts what callers and operators fail, and nothing else", () => {
    const excluded = Object.entries(reasons)
      .filter(([, { kind, outcome }]) => kind === "caller" || (kind === "refusal" && outcome === "denied"))
      .map(([name]) => name);
    const lists = [...textOf("recording.yaml").matchAll(/result!~"(?:ok\|)?([^"]*)"/g)].map(([, list = ""]) =>
      list.split("|"),
    );
    assert.ok(lists.length > 0);
    for (const list of lists) assert.deepEqual(list.toSorted(), excluded.toSorted());
  });
});
