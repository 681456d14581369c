// docs/setup.md, followed to the letter: every block of it is run in its order, what it says is printed
// is compared with what was, and at its marks the test looks for itself.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { createProcessGroup } from "../../lab/process-group.ts";
import { type Follower, openFollower } from "./follower.ts";
import { createChecks } from "./checks.ts";
import { parsePage } from "./page.ts";
import { type Site, startSite } from "./site.ts";

const page = readFileSync(join(import.meta.dirname, "..", "..", "..", "docs", "setup.md"), "utf8");

suite("docs/setup.md, as it stands", () => {
  const dir = mkdtempSync(join(tmpdir(), "setup-"));
  const processes = createProcessGroup(dir);
  const sections = parsePage(page);
  let site: Site | undefined;
  let follower: Follower;
  let hasFailed = false;

  before(async () => {
    const started = await startSite(processes, dir);
    site = started;
    // With what a shell and a YAML flow map take for an end.
    const work = join(dir, "my site, 1");
    mkdirSync(work);
    follower = openFollower({
      processes,
      reader: started.reader,
      work,
      state: dir,
      createChecks: (world) => createChecks(started, world),
    });
  });
  after(async () => {
    await processes.stopAll();
    await site?.api.close();
    rmSync(dir, { recursive: true, force: true });
  });

  for (const { heading, steps } of sections)
    test(heading, async () => {
      assert.ok(!hasFailed, "an earlier section failed, and this one builds on it");
      hasFailed = true;
      for (const step of steps) await follower.follow(step);
      hasFailed = false;
    });

  test("every block was run, every check made", () => {
    assert.equal(
      follower.followed(),
      sections.reduce((sum, { steps }) => sum + steps.length, 0),
    );
    assert.deepEqual(follower.checksLeft(), []);
  });
});
