// The console without a mouse: an operator suspends a cluster, an administrator asks to resume it, and another one
// approves that.
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import type { Page } from "../../lab/chromium.ts";
import { type ConsoleSite, picture, startConsoleSite } from "./site.ts";

const mostTabs = 80;

/** Presses Tab until something of this name has the focus. */
async function tabTo(page: Page, name: RegExp): Promise<void> {
  const passed: string[] = [];
  for (let i = 0; i < mostTabs; i += 1) {
    await page.keyboard.press("Tab");
    const focused = page.locator(":focus");
    if ((await focused.count()) === 0) continue;
    const id = (await focused.getAttribute("id")) ?? "";
    const label = id === "" ? "" : ((await page.locator(`label[for="${id}"]`).allTextContents())[0] ?? "");
    const text = (await focused.getAttribute("aria-label")) ?? `${label}${(await focused.textContent()) ?? ""}`;
    if (name.test(text)) return;
    passed.push(text.slice(0, 40));
  }
  assert.fail(`nothing that is called ${name} has the focus after: ${passed.join(" | ")}`);
}

async function press(page: Page, name: RegExp): Promise<void> {
  await tabTo(page, name);
  await page.keyboard.press("Enter");
}

suite("the console by keyboard alone", () => {
  let site: ConsoleSite;
  before(async () => {
    site = await startConsoleSite();
    site.ask();
  });
  after(() => site.stop());

  test("the first Tab skips to the page", async () => {
    const { page } = await site.consoles.open("vera");
    await page.reload();
    await page.getByRole("heading", { level: 1 }).waitFor();
    // A reader begins at the heading of the page; before it stands the way past the menu.
    for (let i = 0; i < 20; i += 1) {
      await page.keyboard.press("Shift+Tab");
      if ((await page.locator(":focus").textContent()) === "Skip to the page") break;
    }
    assert.equal(await page.locator(":focus").textContent(), "Skip to the page");
    await page.keyboard.press("Enter");
    assert.equal(await page.locator(":focus").getAttribute("id"), "main");
  });

  test("a cluster is suspended, and resumed by two", async () => {
    const olga = await site.consoles.open("olga");
    await press(olga.page, /^Fleet$/);
    await olga.page.getByText("2 of 2 clusters").waitFor();
    await press(olga.page, /^cluster-1$/);
    await olga.page.getByRole("button", { name: "Suspend" }).waitFor();
    await press(olga.page, /^Suspend cluster-1$/);
    await olga.page.getByRole("dialog").waitFor();
    await tabTo(olga.page, /^Reason/);
    await olga.page.keyboard.type("a node's disk is gone");
    const command = (await olga.page.getByRole("dialog").locator("code").textContent()) ?? "";
    assert.equal(command, "claviger cluster suspend cluster-1 --reason 'a node'\\''s disk is gone'");
    await press(olga.page, /^Suspend$/);
    await olga.page.getByRole("dialog").waitFor({ state: "detached" });
    await olga.page.getByRole("main").getByText("suspended", { exact: true }).first().waitFor();
    assert.match(site.registry(), /state: suspended/);
    // The button is gone; the focus is not.
    await olga.page.locator(":focus").waitFor({ state: "attached" });

    const ada = await site.consoles.open("ada");
    await ada.page.evaluate("location.hash = '#/cluster/cluster-1'");
    await ada.page.getByRole("button", { name: "Resume" }).waitFor();
    await press(ada.page, /^Resume cluster-1$/);
    await ada.page.getByRole("dialog").waitFor();
    await tabTo(ada.page, /^Reason/);
    await ada.page.keyboard.type("the disk was found");
    await ada.page.keyboard.press("Enter");
    const alert = ada.page.getByRole("alert");
    await alert.waitFor();
    assert.match((await alert.textContent()) ?? "", /another administrator has to approve it/);
    assert.equal(await ada.page.locator(":focus").textContent(), "Close");
    await ada.page.keyboard.press("Enter");
    await ada.page.getByRole("dialog").waitFor({ state: "detached" });
    assert.equal(await ada.page.locator(":focus").getAttribute("aria-label"), "Resume cluster-1");
    await ada.page.evaluate("location.hash = '#/changes'");
    await ada.page.getByText("the disk was found").first().waitFor();
    assert.equal(
      await ada.page.getByRole("button", { name: /^Approve/ }).count(),
      0,
      "nobody approves what they asked for",
    );
    await ada.page.getByRole("button", { name: /^Take back/ }).waitFor();

    const anna = await site.consoles.open("anna");
    anna.page.on("console", (m) => console.log("PAGE", m.text()));
    await press(anna.page, /^Changes$/);
    await anna.page.getByText("the disk was found").first().waitFor();
    await picture(anna.page, "changes", "light");
    await press(anna.page, /^Approve SetClusterState of ada$/);
    await anna.page.getByRole("dialog").waitFor();
    await press(anna.page, /^Approve$/);
    await anna.page.getByRole("dialog").waitFor({ state: "detached" });
    await anna.page.getByText("Nothing waits.").waitFor();
    // The row is gone with its buttons: whoever was there is where it was, and goes on from there.
    assert.equal(await anna.page.locator(":focus").textContent(), "Waiting for a second administrator");
    assert.doesNotMatch(site.registry(), /state: suspended/);
    await ada.page.getByText("approved", { exact: true }).first().waitFor();
    for (const { wrong } of [olga, ada, anna]) assert.deepEqual(wrong, []);
  });

  test("Escape leaves a dialog, and the focus goes back to its button", async () => {
    const { page } = await site.consoles.open("olga");
    await page.evaluate("location.hash = '#/cluster/cluster-2'");
    await page.getByRole("button", { name: "Suspend" }).waitFor();
    await press(page, /^Suspend cluster-2$/);
    await page.getByRole("dialog").waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    assert.equal(await page.locator(":focus").getAttribute("aria-label"), "Suspend cluster-2");
    assert.doesNotMatch(site.registry(), /state: suspended/);
  });
});
