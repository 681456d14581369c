// `npm run docs`, in a real browser: each document is a page, none asks for anything from elsewhere, and the search
// finds what is written.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createReadStream, existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { suite, test } from "node:test";
import { sidebar } from "../../../docs/.vitepress/sidebar.ts";
import { startChromium } from "../../lab/chromium.ts";
import { root } from "../../run/files.ts";

const types: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".woff2": "font/woff2",
};

/** The paths of all pages that the sidebar leads to. */
const pages = [...JSON.stringify(sidebar).matchAll(/"link":"([^"]+)"/g)].map(([, link = ""]) => link);

suite("The documents as a site", () => {
  test("each page is there and complete, and the search finds a word without any other host", async (t) => {
    const out = mkdtempSync(join(tmpdir(), "claviger-site-"));
    t.after(() => rmSync(out, { recursive: true }));
    execFileSync(join(root, "node_modules/.bin/vitepress"), ["build", "docs", "--outDir", out], {
      cwd: root,
      stdio: "pipe",
    });
    const server = createServer(({ url = "/" }, response) => {
      const { pathname } = new URL(url, "http://site");
      const name = pathname.endsWith("/") ? `${pathname}index.html` : pathname;
      const file = [name, `${name}.html`]
        .map((path) => join(out, path))
        .find((path) => existsSync(path) && statSync(path).isFile());
      if (file === undefined) return void response.writeHead(404).end();
      response.writeHead(200, { "content-type": types[extname(file)] ?? "application/octet-stream" });
      createReadStream(file).pipe(response);
    });
    server.listen(0, "127.0.0.1");
    t.after(() => server.close());
    await new Promise((listening) => server.once("listening", listening));
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

    assert.ok(pages.length > 25, `${pages.length} pages`);
    const browser = await startChromium();
    t.after(() => browser.close());
    const page = await browser.newPage();
    const strange: string[] = [];
    page.on("request", (request) => {
      if (!request.url().startsWith(origin) && !request.url().startsWith("data:")) strange.push(request.url());
    });
    page.on("response", (response) => {
      if (response.status() >= 400) strange.push(`${response.status()} ${response.url()}`);
    });
    page.on("pageerror", (error) => strange.push(String(error)));
    for (const path of pages) {
      await page.goto(`${origin}${path}`);
      assert.notEqual(await page.locator("main h1").first().textContent(), "", path);
      for (const width of [390, 1366]) {
        await page.setViewportSize({ width, height: 800 });
        const wanted = await page.evaluate("document.documentElement.scrollWidth");
        assert.equal(wanted, width, `${path} is wider than a window of ${width}: what is wide has to scroll by itself`);
      }
    }
    await page.goto(`${origin}/`, { waitUntil: "networkidle" });
    await page.locator("#local-search button").first().click();
    await page.locator(".VPLocalSearchBox input").fill("min_decryption_version");
    await page.locator(".VPLocalSearchBox .result").first().click();
    await page.locator("main :text('min_decryption_version')").first().waitFor();
    assert.deepEqual(strange, []);
  });
});
