// Every page of the console, in a real browser, against the real lab: it renders, says nothing that its policy
// forbids, and leaves nobody out.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, suite, test } from "node:test";
import type { Page } from "../../lab/chromium.ts";
import { atMost } from "../../lab/promised.ts";
import { type ConsoleSite, picture, startConsoleSite, type Watched } from "./site.ts";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
/** Pages that have a picture in docs/console.md; those of others are made where there is more to see. */
const pictured: Readonly<Record<string, string>> = {
  overview: "light",
  cluster: "light",
  node: "dark",
  keys: "light",
  gateways: "light",
  audit: "light",
};

type Violation = {
  readonly id: string;
  readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[];
};

/** Pages by their address, each with a text that stands on it once it is read. */
const pages = {
  attention: { hash: "#/attention", heading: "Attention", text: /needs a person|need a person/ },
  overview: { hash: "#/overview", heading: "Overview", text: "Vault or OpenBao" },
  fleet: { hash: "#/fleet", heading: "Fleet", text: "2 of 2 clusters" },
  cluster: { hash: "#/cluster/cluster-1", heading: "cluster-1", text: "node-1" },
  node: { hash: "#/node/cluster-1/node-1", heading: "cluster-1/node-1", text: "Serial number of its certificate" },
  keys: { hash: "#/keys", heading: "Keys", text: "v1 encrypts" },
  gateways: { hash: "#/gateways", heading: "Gateways and Vaults", text: "Vaults, as gateways find them" },
  audit: { hash: "#/audit", heading: "Audit", text: "Newest record" },
  changes: { hash: "#/changes", heading: "Changes and approvals", text: "Waiting for a second administrator" },
} as const;

type Where = { readonly hash: string; readonly heading: string; readonly text: string | RegExp };

async function open(page: Page, { hash, heading, text }: Where): Promise<void> {
  await page.evaluate(`location.hash = ${JSON.stringify(hash)}`);
  await page.getByRole("heading", { level: 1, name: heading, exact: true }).waitFor();
  await page.getByRole("main").getByText(text).first().waitFor();
  await page.getByText("Reading …").first().waitFor({ state: "detached" });
}

/** Of the first one on its page. */
async function nameOfGateway(page: Page): Promise<string> {
  await open(page, pages.gateways);
  const links = page.getByRole("region", { name: "Gateways", exact: true }).getByRole("link");
  return (await links.first().textContent()) ?? "";
}

suite("the pages of the console", () => {
  let site: ConsoleSite;
  let admin: Watched;

  before(async () => {
    site = await startConsoleSite();
    site.ask();
    await Promise.all(
      site.kms.map(async (kms) => {
        const { ciphertext, keyId } = await kms.encrypt(Buffer.from("seed"));
        await kms.decrypt({ ciphertext, keyId });
      }),
    );
    admin = await site.consoles.open("ada");
  });
  after(() => site.stop());

  for (const [name, where] of Object.entries(pages))
    test(`${name} renders, and nothing is done that the policy forbids`, async () => {
      await open(admin.page, where);
      assert.match(await admin.page.title(), /· Claviger$/);
      assert.deepEqual(admin.wrong, []);
    });

  test("the page of a gateway renders", async () => {
    const name = await nameOfGateway(admin.page);
    await admin.page.getByRole("link", { name, exact: true }).first().click();
    await admin.page.getByRole("heading", { level: 1, name }).waitFor();
    await admin.page.getByText("Every check of its /readyz is ok.").waitFor();
    assert.deepEqual(admin.wrong, []);
  });

  test("an address that there is not says so, and one that is opened first is found", async () => {
    await admin.page.evaluate("location.hash = '#/nothing'");
    await admin.page.getByRole("heading", { level: 1, name: "Not found" }).waitFor();
    await open(admin.page, pages.fleet);
    await admin.page.goto(new URL("/#/cluster/cluster-2", admin.page.url()).href);
    await admin.page.reload();
    await admin.page.getByRole("heading", { level: 1, name: "cluster-2" }).waitFor();
    await admin.page.getByRole("main").getByText("node-2").first().waitFor();
  });

  test("axe finds nothing on any page, light or dark", async () => {
    // axe is a script of a third party: it runs where the policy is switched off.
    const state = await admin.page.context().storageState();
    const context = await site.consoles.browser.newContext({ bypassCSP: true, storageState: state });
    const page = await context.newPage();
    await page.goto(new URL("/", admin.page.url()).href);
    await page.evaluate(axe);
    const gateway = await nameOfGateway(page);
    const id = await askToResume(site, "cluster-2");
    const all: Readonly<Record<string, Where>> = {
      ...pages,
      gateway: {
        hash: `#/gateway/${encodeURIComponent(gateway)}`,
        heading: gateway,
        text: "Every check of its /readyz is ok.",
      },
      change: {
        hash: `#/change/${id}`,
        heading: "SetClusterState of cluster-2",
        text: "The request as it will be made",
      },
      nowhere: { hash: "#/nothing", heading: "Not found", text: "There is no such page." },
    };
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      for (const [name, where] of Object.entries(all)) {
        await open(page, where);
        const found = await page.evaluate<readonly Violation[]>(
          "axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations)",
        );
        assert.deepEqual(
          found.map(({ id, nodes }) => [
            id,
            ...nodes.slice(0, 3).map(({ html, failureSummary }) => `${html}\n${failureSummary}`),
          ]),
          [],
          `${name}, ${colorScheme}`,
        );
        if (pictured[name] === colorScheme) await picture(page, name, colorScheme);
      }
    }
    await page.getByRole("heading", { level: 1 }).waitFor();
    await open(page, pages.cluster);
    await page.getByRole("button", { name: "Suspend" }).click();
    const inDialog = await page.evaluate<readonly Violation[]>(
      "axe.run(document).then(({ violations }) => violations)",
    );
    assert.deepEqual(
      inDialog.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]),
      [],
    );
    await picture(page, "dialog", "dark");
    await context.close();
    await approve(site, id);
  });

  test("a suspension by the command line is on the page within two seconds", async () => {
    const { page } = admin;
    await open(page, pages.cluster);
    await page.getByText("Live", { exact: true }).waitFor();
    const { status, err } = await site.run("olga", "cluster", "suspend", "cluster-1", "--reason", "a test");
    assert.equal(status, 0, err);
    const at = Date.now();
    await page
      .getByRole("main")
      .getByText("suspended", { exact: true })
      .first()
      .waitFor({ timeout: atMost(2000) });
    console.log(`the suspension was on the page after ${Date.now() - at} ms`);
    await page.goto(new URL("/#/fleet", page.url()).href);
    await page
      .getByRole("row", { name: /cluster-1/ })
      .getByText("suspended")
      .first()
      .waitFor();
    await approve(site, await askToResume(site, "cluster-1"));
  });

  test("the theme is what is chosen, and stays", async () => {
    const { page } = admin;
    const ground = (): Promise<unknown> => page.evaluate("getComputedStyle(document.body).backgroundColor");
    await page.emulateMedia({ colorScheme: "light" });
    const light = await ground();
    await page.getByRole("button", { name: "Theme: auto" }).click();
    await page.getByRole("button", { name: "Theme: light" }).click();
    assert.notEqual(await ground(), light);
    await page.reload();
    await page.getByRole("button", { name: "Theme: dark" }).waitFor();
    assert.notEqual(await ground(), light);
    await page.getByRole("button", { name: "Theme: dark" }).click();
    assert.equal(await ground(), light);
  });

  test("a viewer is offered nothing that a viewer may not do", async () => {
    const viewer = await site.consoles.open("vera");
    for (const one of [pages.cluster, pages.node, pages.changes]) {
      await open(viewer.page, one);
      await viewer.page.getByText("viewer", { exact: true }).waitFor();
      for (const name of [
        "Suspend",
        "Decrypt only",
        "Resume",
        "Change labels",
        "Rotate",
        "Promote",
        "Revoke",
        "Approve",
      ])
        assert.equal(await viewer.page.getByRole("button", { name }).count(), 0, `${one.heading}: ${name}`);
    }
    assert.deepEqual(viewer.wrong, []);
  });

  test("the service's refusal is shown where it comes all the same", async () => {
    const { page, wrong } = await site.consoles.open("olga");
    await open(page, pages.cluster);
    await page.getByRole("button", { name: "Change labels" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("textbox", { name: "Labels" }).fill("team=a/b/c");
    await dialog.getByRole("textbox", { name: "Reason" }).fill("a test");
    await dialog.getByRole("button", { name: "Change labels" }).click();
    await dialog.getByRole("alert").waitFor();
    assert.match((await dialog.getByRole("alert").textContent()) ?? "", /label/);
    await dialog.getByRole("button", { name: "Cancel" }).click();
    await dialog.waitFor({ state: "detached" });
    assert.deepEqual(wrong, []);
  });

  test("a service that is away is said, and what was known is shown with its age", async () => {
    const { page } = await site.consoles.open("vera");
    await open(page, pages.cluster);
    site.fleet.proc.child.kill("SIGSTOP");
    try {
      await page.getByText(/No answer for/).waitFor({ timeout: 40_000 });
      await page
        .getByText(/What stands here was read/)
        .first()
        .waitFor();
      await page.getByRole("main").getByText("node-1").first().waitFor();
    } finally {
      site.fleet.proc.child.kill("SIGCONT");
    }
    await page.getByText("Live", { exact: true }).waitFor({ timeout: 40_000 });
    await page
      .getByText(/What stands here was read/)
      .first()
      .waitFor({ state: "detached" });
  });
});

/** Of a cluster, which is suspended for it where it is not yet. @returns the id of the approval that it waits for */
async function askToResume(site: ConsoleSite, cluster: string): Promise<string> {
  const suspended = await site.run("olga", "cluster", "suspend", cluster, "--reason", "a test");
  assert.equal(suspended.status, 0, suspended.err);
  const asked = await site.run("ada", "cluster", "resume", cluster, "--reason", "the test is over");
  assert.equal(asked.status, 3, asked.err);
  const { out } = await site.run("anna", "approvals", "list", "-o", "json");
  const [{ id } = { id: "" }] = JSON.parse(out) as readonly { readonly id: string }[];
  return id;
}

async function approve(site: ConsoleSite, id: string): Promise<void> {
  const approved = await site.run("anna", "approvals", "approve", id);
  assert.equal(approved.status, 0, approved.err);
}
