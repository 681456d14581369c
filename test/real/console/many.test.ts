// Ten thousand clusters in the console: all rows are there, in one table of which little is made; what is asked of
// it is answered. How fast, `node test/bench/console.ts` says.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { buildConsole } from "../../../infra/console.ts";
import { type ManyClusters, nodesOf, startManyClusters, writeNodes } from "../../bench/many.ts";
import type { Page } from "../../lab/chromium.ts";
import { createProcessGroup, type ProcessGroup } from "../../lab/process-group.ts";
import { type Consoles, picture, startConsoles } from "./site.ts";

const count = 10_000;
/** Clusters whose nodes are in Redis as well. */
const seen = 600;

suite("ten thousand clusters in the console", () => {
  let dir: string;
  let processes: ProcessGroup;
  let many: ManyClusters;
  let consoles: Consoles;
  let page: Page;
  let wrong: readonly string[];
  let reports: { close(): void };

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    processes = createProcessGroup(dir);
    const directory = join(dir, "pages");
    await buildConsole(directory);
    many = await startManyClusters(processes, dir, count, { console: { directory } });
    reports = await writeNodes(many.redis, many.secret, nodesOf(seen));
    consoles = await startConsoles(many.fleet);
    ({ page, wrong } = await consoles.open("vera"));
    await page.goto(new URL("/#/fleet", page.url()).href);
    await said(`${count} of ${count} clusters`, 60_000);
  });
  after(async () => {
    await consoles.close();
    reports.close();
    await many.close();
    await processes.stopAll();
    await rm(dir, { recursive: true, force: true });
  });

  const said = async (text: string, timeout = 10_000): Promise<void> => {
    await page
      .getByRole("main")
      .getByText(text.replaceAll(/\B(?=(\d{3})+(?!\d))/g, "\u202f"))
      .waitFor({ timeout });
  };
  const rows = () => page.locator("tbody tr:not(.space)");

  test("it is one table that says how many rows it has, and makes those in sight", async () => {
    assert.equal(await page.getByRole("table").getAttribute("aria-rowcount"), String(count + 1));
    assert.ok((await rows().count()) < 100);
    await page.evaluate('document.querySelector(".window").scrollTop = 1e9');
    await page.locator(`tr[aria-rowindex="${count + 1}"]`).waitFor();
    assert.ok((await rows().count()) < 100);
  });

  test("a picture of some of them", async () => {
    await page.getByLabel("Name or labels").fill("cluster-5");
    await said("1111 of 10000 clusters");
    await page.evaluate('document.querySelector(".window").scrollTop = 0');
    await page.locator('tr[aria-rowindex="2"]').waitFor();
    await picture(page, "fleet", "light");
    await page.getByLabel("Name or labels").fill("");
    await said(`${count} of ${count} clusters`);
  });

  test("a filter finds names and states, and stands in the address", async () => {
    await page.getByLabel("Name or labels").fill("cluster-77");
    await said("111 of 10000 clusters");
    await page.getByLabel("State").selectOption("suspended");
    await said("1 of 10000 clusters");
    assert.match(page.url(), /#\/fleet\?q=cluster-77&state=suspended$/);
    await page.reload();
    await said("1 of 10000 clusters", 60_000);
    await rows().getByRole("link", { name: "cluster-7700" }).waitFor();
    await page.getByLabel("State").selectOption("");
    await page.getByLabel("Name or labels").fill("");
    await said(`${count} of ${count} clusters`);
  });

  test("a heading sorts, once more turns it round, and what is not known comes last", async () => {
    const first = (): Promise<string | null> => rows().first().getByRole("link").textContent();
    await page.getByRole("button", { name: "Cluster", exact: true }).click();
    await page.locator("th[aria-sort=descending]").waitFor();
    await page.evaluate('document.querySelector(".window").scrollTop = 0');
    await page.locator('tr[aria-rowindex="2"]').waitFor();
    assert.equal(await first(), "cluster-9999");
    await page.getByRole("button", { name: "First expiry" }).click();
    await page.locator("th[aria-sort=ascending]", { hasText: "First expiry" }).waitFor();
    assert.doesNotMatch((await rows().first().textContent()) ?? "", /unknown.*unknown.*unknown.*unknown.*unknown/);
    await page.getByRole("button", { name: "Cluster", exact: true }).click();
    await page.locator("th[aria-sort=ascending]", { hasText: "Cluster" }).waitFor();
    assert.equal(await first(), "cluster-1");
  });

  test("a row that the keyboard comes to comes into sight, however many it passes", async () => {
    await rows().first().getByRole("link").focus();
    for (let i = 0; i < 60; i += 1) await page.keyboard.press("Tab");
    const focused = page.locator(":focus");
    assert.match((await focused.textContent()) ?? "", /^cluster-/);
    assert.ok(await focused.isVisible());
    assert.ok(Number(await focused.locator("xpath=ancestor::tr").getAttribute("aria-rowindex")) > 55);
    assert.deepEqual(wrong, []);
  });
});
