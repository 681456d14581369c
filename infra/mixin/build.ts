// Writes what is made of the rules and of boards.ts: the PrometheusRule and the dashboards.
//   node infra/mixin/build.ts [--runbooks URL] [--check]
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { boards } from "./boards.ts";
import { dashboardOf } from "./grafana.ts";

const here = import.meta.dirname;
/** Where alerts.yaml says that runbooks are. */
const runbooks = "docs/runbooks";

const head = `# Made by infra/mixin/build.ts from recording.yaml and alerts.yaml.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: claviger
  labels:
    app.kubernetes.io/name: claviger
    app.kubernetes.io/part-of: claviger
spec:
  groups:
`;

/** The groups of a file of rules, two more columns in. */
function groupsOf(file: string): string {
  const [, groups = ""] = readFileSync(join(here, file), "utf8").split(/^groups:\n/m);
  return groups.replaceAll(/^(?=.)/gm, "  ");
}

/**
 * Every file that is made, by its path here.
 * @param base where the runbooks are, without a slash at the end: a URL, or a path in the repository
 */
export function builtFiles(base = runbooks): ReadonlyMap<string, string> {
  const rule = head + groupsOf("recording.yaml") + groupsOf("alerts.yaml");
  return new Map([
    ["prometheusrule.yaml", rule.replaceAll(`runbook_url: ${runbooks}/`, `runbook_url: ${base}/`)],
    ...boards.map(
      (board) => [`dashboards/${board.uid}.json`, `${JSON.stringify(dashboardOf(board), undefined, 2)}\n`] as const,
    ),
  ]);
}

/** Are the files here those that would be made? */
function isCurrent(path: string, text: string): boolean {
  try {
    return readFileSync(join(here, path), "utf8") === text;
  } catch {
    return false;
  }
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { runbooks: { type: "string" }, check: { type: "boolean" } } });
  const files = builtFiles(values.runbooks?.replace(/\/$/, ""));
  if (values.check === true) {
    const old = [...files].filter(([path, text]) => !isCurrent(path, text)).map(([path]) => path);
    if (old.length > 0) process.stderr.write(`run node infra/mixin/build.ts: ${old.join(", ")}\n`);
    process.exitCode = old.length > 0 ? 1 : 0;
  } else {
    mkdirSync(join(here, "dashboards"), { recursive: true });
    for (const [path, text] of files) writeFileSync(join(here, path), text);
  }
}
