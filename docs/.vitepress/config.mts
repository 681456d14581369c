// The documents as a site: `npm run docs` writes dist/site, files that any web server can serve. Nothing of it comes
// from elsewhere: the search runs in the browser, over an index beside the pages.
//
// DOCS_BASE: the path under which it is served, `/` unless said. DOCS_SOURCE: where the files of this repository can be
// looked at, as `https://…/blob/main`; without it a link to one of them is its text alone.
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { defineConfig, type MarkdownOptions } from "vitepress";
import { sidebar } from "./sidebar.ts";

const root = join(import.meta.dirname, "../..");
const source = process.env["DOCS_SOURCE"];

type MarkdownIt = Parameters<NonNullable<MarkdownOptions["config"]>>[0];

/** Links to files that are not pages lead to the repository, or nowhere. A file that is not there ends the build. */
function linkSources(markdown: MarkdownIt): void {
  markdown.core.ruler.push("sources", ({ tokens, env }) => {
    const page = (env as { readonly relativePath: string }).relativePath;
    for (const { children } of tokens)
      for (const [i, token] of (children ?? []).entries()) {
        const href = token.attrGet("href") ?? "";
        if (token.type !== "link_open" || /^([a-z]+:|#)/.test(href)) continue;
        const [path = "", hash] = href.split("#");
        const file = join(dirname(page), path);
        if (!existsSync(join(root, file))) throw new Error(`${page} links to ${file}, which is not there`);
        if (path.endsWith("README.md")) token.attrSet("href", href.replace("README.md", "index.md"));
        else if (existsSync(join(root, file, "index.md")) || path.endsWith(".md")) continue;
        else if (source !== undefined)
          token.attrSet("href", `${source}/${file}${hash === undefined ? "" : `#${hash}`}`);
        else {
          const close = children?.slice(i).find(({ type }) => type === "link_close");
          for (const end of [token, close])
            if (end !== undefined) Object.assign(end, { type: "text", tag: "", content: "" });
        }
      }
  });
}

/** An indented block is one of code: VitePress gives only fenced ones a frame, in which a long line can be scrolled. */
function frameBlocks(markdown: MarkdownIt): void {
  markdown.core.ruler.push("frames", ({ tokens }) => {
    for (const token of tokens)
      if (token.type === "code_block") Object.assign(token, { type: "fence", markup: "```", info: "text" });
  });
}

// VitePress looks for a default export.
// oxlint-disable-next-line no-default-export
export default defineConfig({
  title: "Claviger",
  description: "Remote KMS provider for fleets of Kubernetes clusters",
  base: process.env["DOCS_BASE"] ?? "/",
  srcDir: root,
  srcExclude: ["**/node_modules/**", "dist/**", "test/**", "gateway/**", "shim/**", "proto/**"],
  outDir: join(root, "dist/site"),
  cacheDir: join(root, "node_modules/.cache/vitepress"),
  rewrites: (page) => page.replace(/README\.md$/, "index.md"),
  // Text in angle brackets is text.
  markdown: {
    html: false,
    config(markdown) {
      linkSources(markdown);
      frameBlocks(markdown);
    },
  },
  themeConfig: {
    sidebar,
    search: { provider: "local" },
    outline: { level: [2, 3] },
  },
});
