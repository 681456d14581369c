// Logins at OpenBao in a real browser: what it keeps, what pages of other origins come to, and how it ends.
// (docs/architecture.md #console.)
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { authorize } from "../../lab/authorize.ts";
import { type Browser, type Page, startChromium } from "../../lab/chromium.ts";
import { password } from "../../lab/oidc.ts";
import { createProcessGroup, type ProcessGroup } from "../../lab/process-group.ts";
import { type LoginSite, recordsOf, startLoginSite } from "../control/login-site.ts";
import { watch, type Watched } from "./site.ts";

const change = JSON.stringify({ name: "cluster-1", state: "suspended", reason: "of another origin" });
const method = "/claviger.fleet.v1.FleetService/SetClusterState";
const hostile = "<img src=x onerror=window.hostile=1>";

/** What a page of another origin tries, as its own script would. @returns what it has got */
function attack(target: string): string {
  return `(async () => {
    const body = ${JSON.stringify(change)};
    const send = (path, init) => fetch(${JSON.stringify(target)} + path, { credentials: "include", ...init })
      .then(async (reply) => reply.type + " " + reply.status + " " + (await reply.text()).length, () => "nothing");
    const frame = document.createElement("iframe");
    frame.src = ${JSON.stringify(target)};
    await new Promise((resolve) => { frame.onload = resolve; document.body.append(frame); });
    const inFrame = (() => { try { return frame.contentWindow.document.body.textContent; } catch { return "nothing"; } })();
    return {
      simple: await send(${JSON.stringify(method)}, { method: "POST", mode: "no-cors", headers: { "content-type": "text/plain" }, body }),
      json: await send(${JSON.stringify(method)}, { method: "POST", headers: { "content-type": "application/json", "connect-protocol-version": "1" }, body }),
      access: await send("/console/access", {}),
      logout: await send("/console/logout", { method: "POST", mode: "no-cors" }),
      beacon: String(navigator.sendBeacon(${JSON.stringify(target + method)}, new Blob([body], { type: "text/plain" }))),
      inFrame,
      cookie: document.cookie,
    };
  })()`;
}

suite("logins in a browser", () => {
  let dir: string;
  let processes: ProcessGroup;
  let site: LoginSite;
  let browser: Browser;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    processes = createProcessGroup(dir);
    [site, browser] = await Promise.all([startLoginSite(processes, dir), startChromium()]);
  });
  after(async () => {
    await browser.close();
    await processes.stopAll();
    await rm(dir, { recursive: true, force: true });
  });

  /** A browser that knows nobody, at the console. */
  const openPage = async (): Promise<Omit<Watched, "link">> => {
    // Its certificate is the lab's, which no browser knows.
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    const page = await context.newPage();
    const wrong = await watch(page);
    await page.goto(site.urls[0]);
    await page.getByRole("link", { name: "Log in" }).waitFor();
    return { page, wrong };
  };
  /** By the link of the page, up to where the issuer sends the browser back. */
  const logIn = async (page: Page, user: string): Promise<void> => {
    await page.getByRole("link", { name: "Log in" }).click();
    await page.waitForURL(/identity\/oidc\/provider\/claviger\/authorize/);
    // What OpenBao's own page does next, which is not in this build of it.
    const back = await authorize(page.url(), user, password, site.pki.ca);
    await Promise.all([
      page.waitForURL((url) => url.origin === site.urls[0]),
      page.evaluate(`location.href = ${JSON.stringify(back.href)}`),
    ]);
  };
  const registry = (): string => readFileSync((site.settings["registry"] as { readonly file: string }).file, "utf8");

  test("somebody logs in and out; the browser keeps one cookie, which no script reads, and nothing after it", async () => {
    const { page, wrong } = await openPage();
    await logIn(page, "alice");
    await page.getByText("oidc:bao:alice").waitFor();
    await page.getByText("Live", { exact: true }).waitFor();
    const cookies = await page.context().cookies();
    assert.deepEqual(
      cookies.map(({ name, path, secure, httpOnly, sameSite }) => ({ name, path, secure, httpOnly, sameSite })),
      [{ name: "__Host-claviger", path: "/", secure: true, httpOnly: true, sameSite: "Strict" }],
    );
    const seen = await page.evaluate<string>(
      "JSON.stringify([document.cookie, { ...localStorage }, { ...sessionStorage }, location.href])",
    );
    assert.doesNotMatch(seen, /eyJ|code=|claviger":/);
    assert.ok(!seen.includes(String(cookies[0]?.value)));

    await page.getByRole("button", { name: "Log out" }).click();
    await page.getByRole("link", { name: "Log in" }).waitFor();
    assert.deepEqual(await page.context().cookies(), []);
    // A copy of it counts no more.
    await page.context().addCookies(cookies);
    await page.reload();
    await page
      .getByText(/the session is over: log in again/)
      .first()
      .waitFor();
    assert.deepEqual(wrong, []);
  });

  test("a viewer sees the fleet, and no button that changes something", async () => {
    const { page, wrong } = await openPage();
    await logIn(page, "vera");
    await page.getByText("oidc:bao:vera").waitFor();
    await page.evaluate("location.hash = '#/cluster/cluster-1'");
    await page.getByRole("heading", { level: 1, name: "cluster-1" }).waitFor();
    await page.getByRole("main").getByText("active").first().waitFor();
    assert.equal(await page.getByRole("group", { name: "Actions" }).count(), 0);
    assert.deepEqual(wrong, []);
  });

  test("who has no role is told so, and stays logged out", async () => {
    const { page } = await openPage();
    await page.getByRole("link", { name: "Log in" }).click();
    await page.waitForURL(/authorize/);
    const back = await authorize(page.url(), "zoe", password, site.pki.ca);
    const reply = await page.goto(back.href);
    assert.equal(reply?.status(), 403);
    await page.getByText(/oidc:bao:zoe has no role/).waitFor();
    assert.deepEqual(await page.context().cookies(), []);
  });

  test("a page of another origin changes nothing, reads nothing and ends no session", async () => {
    const [url] = site.urls;
    const { page } = await openPage();
    await logIn(page, "alice");
    await page.getByText("oidc:bao:alice").waitFor();
    const { cert, key } = await site.pki.gateway("elsewhere");
    const asked: string[] = [];
    const elsewhere: Server = createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (request, reply) => {
      asked.push(`${request.headers.host?.split(":")[0]} ${request.headers.cookie ?? ""}`);
      reply.writeHead(200, { "content-type": "text/html" });
      reply.end("<!doctype html><title>elsewhere</title><body></body>");
    });
    await new Promise<void>((resolve) => void elsewhere.listen(0, resolve));
    const { port } = elsewhere.address() as { readonly port: number };
    try {
      // Of another site, for which SameSite holds; and another port of this host, which is the same site.
      for (const host of ["localhost", "127.0.0.1"]) {
        const other = await page.context().newPage();
        await other.goto(`https://${host}:${port}/`);
        const got = await other.evaluate<Readonly<Record<string, string>>>(attack(url));
        const { beacon, ...rest } = got;
        assert.equal(beacon, "true", "a beacon is sent in any case");
        const nothing = {
          simple: "nothing",
          json: "nothing",
          access: "nothing",
          logout: "nothing",
          inFrame: "nothing",
        };
        assert.deepEqual(rest, { ...nothing, cookie: "" }, host);
        const opened = page.context().waitForEvent("page");
        await other.evaluate(`globalThis.opened = window.open(${JSON.stringify(url)}); undefined`);
        const console = await opened;
        await console.getByRole("heading", { level: 1 }).waitFor();
        assert.equal(await console.evaluate("window.opener"), null);
        assert.equal(await other.evaluate("globalThis.opened.closed"), true, "it has no hold of the window");
        await console.close();
        const answer = other.waitForResponse(url + method);
        await other.evaluate(`(() => {
          const form = document.createElement("form");
          Object.assign(form, { method: "POST", enctype: "text/plain", action: ${JSON.stringify(url + method)} });
          const field = document.createElement("input");
          Object.assign(field, { name: ${JSON.stringify(change.slice(0, -1))} + ', "x": "', value: '"}' });
          form.append(field);
          document.body.append(form);
          setTimeout(() => form.submit());
        })()`);
        assert.ok((await answer).status() >= 400);
        await other.close();
      }
      assert.match(asked.join("\n"), /^localhost $/m, "another site is not shown the cookie");
      assert.doesNotMatch(registry(), /suspended/);
      const records = recordsOf(site.replicas[0]).filter(({ method: name }) =>
        ["setClusterState", "consoleLogout"].includes(String(name)),
      );
      const outcomes = new Set(records.map(({ method: name, outcome }) => `${String(name)} ${String(outcome)}`));
      // The one logout that counts is that of the first test.
      assert.deepEqual([...outcomes].toSorted(), [
        "consoleLogout denied",
        "consoleLogout ok",
        "setClusterState invalid",
      ]);
      await page.reload();
      await page.getByText("oidc:bao:alice").waitFor();
    } finally {
      elsewhere.close();
    }
  });

  test("a name and a group that are scripts are text, to whoever has them and in the records", async () => {
    const { bao } = site;
    const entity = await bao.call<{ data: { id: string } }>("GET", "identity/entity/name/vera");
    await bao.call("POST", `identity/entity/id/${entity.data.id}`, { name: hostile });
    await bao.call("POST", "identity/group", {
      name: `<script>window.hostile=1</script>`,
      member_entity_ids: [entity.data.id],
    });
    const { page, wrong } = await openPage();
    await logIn(page, "vera");
    await page.getByRole("banner").getByText(`oidc:bao:${hostile}`).waitFor();
    const refused = await page.evaluate<number>(
      `fetch(${JSON.stringify(method)}, { method: "POST", headers: { "content-type": "application/json", "connect-protocol-version": "1" }, body: ${JSON.stringify(change)} }).then(({ status }) => status)`,
    );
    assert.equal(refused, 403);
    const admin = await openPage();
    await logIn(admin.page, "alice");
    await admin.page.getByText("oidc:bao:alice").waitFor();
    await admin.page.evaluate("location.hash = '#/audit'");
    await admin.page
      .getByRole("cell", { name: `oidc:bao:${hostile}`, exact: true })
      .first()
      .waitFor();
    for (const one of [page, admin.page]) {
      assert.equal(await one.evaluate("window.hostile"), undefined);
      assert.equal(await one.locator("img, script:not([src])").count(), 0);
    }
    assert.deepEqual([...wrong, ...admin.wrong], []);
  });
});
