// The charts of a release, and the archive of what else is applied, as somebody without a checkout uses them.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, suite, test } from "node:test";
import { deploymentArchives } from "../../../infra/release/charts.ts";
import { readSource } from "../../../infra/release/source.ts";
import { findBinary } from "../../parts/find.ts";
import { chartDir, type ChartName, openHelm } from "../infra/chart.ts";
import { variants } from "../infra/variants.ts";

/** @param release where the release is, once it is made */
export function chartSuite(release: () => string, version: string, dir: string): void {
  suite("its charts", () => {
    const helm = openHelm();
    after(() => helm.close());
    const template = async (chart: string, values: object): Promise<string> => {
      const { code, stdout, stderr } = await helm.helm(["template", "site", chart], { ...values });
      assert.equal(code, 0, stderr);
      return stdout;
    };

    test("give for all values what those of the checkout give", async () => {
      for (const { chart, values } of Object.values(variants)) {
        const archive = join(release(), `helm-${chart}-${version}.tgz`);
        assert.equal(await template(archive, values), await template(chartDir(chart), values), chart);
      }
    });

    test("name the images of a release that has a prefix, and start with no other value than before", async () => {
      const archives = await deploymentArchives("registry.example/team", readSource());
      const withoutImages = (values: object): object =>
        Object.fromEntries(
          Object.entries(values).flatMap(([key, value]: [string, unknown]) => {
            if (key === "image") return [];
            const isTree = typeof value === "object" && value !== null && "image" in value;
            return [[key, isTree ? { ...value, image: {} } : value]];
          }),
        );
      const seen = new Set<string>();
      for (const chart of ["claviger", "claviger-shim"] satisfies ChartName[]) {
        const name = `helm-${chart}-${version}.tgz`;
        writeFileSync(join(dir, name), archives.get(name) ?? "");
        for (const { values } of Object.values(variants).filter((variant) => variant.chart === chart))
          for (const [, image = ""] of (await template(join(dir, name), withoutImages(values))).matchAll(
            /image: "?(registry\.example\/team\/[^"\s]+)/g,
          ))
            seen.add(image);
      }
      assert.deepEqual(
        [...seen].toSorted(),
        ["fleet", "gateway", "shim"].map((image) => `registry.example/team/${image}:${version}`),
      );
    });

    test("have the rest beside them: kustomize builds it, and rules and runbooks are there", () => {
      const home = join(dir, "infra");
      mkdirSync(home);
      execFileSync("tar", ["-xzf", join(release(), `claviger-infra-${version}.tar.gz`), "-C", home]);
      const top = join(home, `claviger-infra-${version}`);
      for (const tree of ["gateway", "fleet", "knative", "kubernetes-auth", "fleet-kubernetes-auth", "mixin"])
        assert.match(
          execFileSync(findBinary("kubectl"), ["kustomize", join(top, "infra", tree)], { encoding: "utf8" }),
          /^kind: /m,
          tree,
        );
      for (const file of [
        "infra/tofu/policies.tf",
        "infra/shim/claviger-shim.service",
        "docs/runbooks/ClavigerKeyOld.md",
      ])
        assert.ok(existsSync(join(top, file)), file);
      assert.ok(!existsSync(join(top, "infra", "build.ts")) && !existsSync(join(top, "infra", "charts")));
    });
  });
}
