// What can be said of .github/workflows/release.yml without the service that runs it: what it uses is
// pinned, what it may do is little, and it names no registry but that of the repository's own name.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { parseYaml } from "@claviger/proto/runtime/config.ts";

type Workflow = {
  readonly permissions: object;
  readonly jobs: Readonly<
    Record<
      string,
      { readonly permissions: object; readonly steps: readonly { readonly uses?: string; readonly run?: string }[] }
    >
  >;
};

suite(".github/workflows/release.yml", () => {
  const path = join(import.meta.dirname, "..", "..", "..", ".github", "workflows", "release.yml");
  const text = readFileSync(path, "utf8");
  const { permissions, jobs } = parseYaml(path, text) as Workflow;

  test("pins each action to a commit, and says its version", () => {
    const used = Object.values(jobs).flatMap(({ steps }) => steps.flatMap(({ uses }) => uses ?? []));
    assert.ok(used.length >= 4);
    for (const action of used) {
      assert.match(action, /^[\w-]+\/[\w-]+@[\da-f]{40}$/);
      assert.match(text, new RegExp(`uses: ${action} # v\\d+\\.\\d+\\.\\d+$`, "m"));
    }
  });

  test("has no right but those that its jobs name, and none but to read where a build runs", () => {
    assert.deepEqual(permissions, {});
    const { build, publish } = jobs;
    assert.ok(build !== undefined && publish !== undefined);
    assert.deepEqual(build.permissions, { contents: "read" });
    assert.deepEqual(Object.keys(publish.permissions), ["contents", "packages", "id-token", "attestations"]);
    for (const { run = "", uses = "" } of publish.steps) assert.doesNotMatch(`${run} ${uses}`, /npm |node |checkout/);
  });

  test("pushes below the repository's own name, and puts no secret on a command line", () => {
    assert.match(text, /^ +PREFIX: ghcr\.io\/\$\{\{ github\.repository \}\}$/m);
    const scripts = Object.values(jobs).flatMap(({ steps }) => steps.flatMap(({ run }) => run ?? []));
    for (const script of scripts) assert.doesNotMatch(script, /secrets\./);
  });
});
