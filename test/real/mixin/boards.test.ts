// The files that infra/mixin/build.ts makes, and the dashboards among them. That each query has data is
// site.test.ts' matter.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { boards } from "../../../infra/mixin/boards.ts";
import { builtFiles } from "../../../infra/mixin/build.ts";
import { knownMetrics, metricsIn } from "./metric-names.ts";

const mixin = join(import.meta.dirname, "..", "..", "..", "infra", "mixin");

suite("What infra/mixin/build.ts makes", () => {
  test("is what stands in the repository", () => {
    const files = builtFiles();
    assert.ok(files.size === 4);
    for (const [path, text] of files)
      assert.equal(readFileSync(join(mixin, path), "utf8"), text, `${path}: run node infra/mixin/build.ts`);
  });

  test("names the runbooks where the site has them", () => {
    const rule = builtFiles("https://runbooks.example/claviger").get("prometheusrule.yaml") ?? "";
    assert.match(rule, /runbook_url: https:\/\/runbooks\.example\/claviger\/ClavigerGatewayDown\.md/);
    assert.doesNotMatch(rule, /runbook_url: docs/);
  });

  test("is in the kustomization", () => {
    const text = readFileSync(join(mixin, "kustomization.yaml"), "utf8");
    for (const path of builtFiles().keys()) assert.ok(text.includes(path), path);
  });

  test("are three dashboards with a data source and a cluster to choose, which every panel uses", () => {
    assert.deepEqual(
      boards.map(({ uid }) => uid),
      ["claviger-fleet", "claviger-cluster", "claviger-gateway"],
    );
    for (const { uid } of boards) {
      const board = JSON.parse(builtFiles().get(`dashboards/${uid}.json`) ?? "") as {
        readonly schemaVersion: number;
        readonly templating: { readonly list: readonly { readonly name: string }[] };
        readonly panels: readonly {
          readonly type: string;
          readonly datasource?: { readonly uid: string };
          readonly gridPos: { readonly x: number; readonly w: number };
        }[];
      };
      assert.ok(board.schemaVersion >= 36);
      const variables = board.templating.list.map(({ name }) => name);
      assert.ok(variables.includes("datasource") && variables.includes("cluster"), uid);
      const panels = board.panels.filter(({ type }) => type !== "row");
      assert.ok(panels.length > 10, uid);
      for (const { datasource, gridPos } of panels) {
        assert.equal(datasource?.uid, "${datasource}");
        assert.ok(gridPos.x + gridPos.w <= 24);
      }
    }
  });

  test("name metrics that there are", () => {
    const known = knownMetrics();
    const named = boards.flatMap(({ rows }) =>
      rows.flatMap(({ panels }) => panels.flatMap(({ queries }) => queries.flatMap(({ expr }) => metricsIn(expr)))),
    );
    assert.ok(named.length > 40);
    assert.deepEqual(
      [...new Set(named)].filter((name) => !known.has(name)),
      [],
    );
  });
});
