// The documents, as a test: what a comment cites exists, links lead somewhere, and what a document
// says is in the tree is there. That docs/reference is what the code says is `npm run check:docs`.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { suite, test } from "node:test";
import { limits } from "@claviger/proto/wire/protocol.ts";
import { sidebar } from "../../docs/.vitepress/sidebar.ts";
import { defaultListenLimits } from "../../gateway/server/src/http/limits.ts";

const root = join(import.meta.dirname, "..", "..");

function read(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

/** Every file of the tree, except what is installed, built or generated. */
function filesOf(ending: RegExp): readonly string[] {
  return readdirSync(root, { recursive: true, encoding: "utf8" }).filter(
    (path) => ending.test(path) && !/(?:^|\/)(?:node_modules|dist|\.git|gen)\//.test(path),
  );
}

const documents = filesOf(/\.md$/);
const sources = filesOf(/\.(?:ts|mjs|yaml|proto|service|conf|hcl|Dockerfile)$/);

/** Sources but those that make or check the documents. */
const commented = sources.filter((path) => !/^(?:docs|test\/unit\/docs)/.test(path));

/** A text on one line, without what stands before each line of a comment. */
function flat(text: string): string {
  return text.replaceAll(/\n[ \t]*(?:\/\/|\*(?!\/)|#)?[ \t]*/g, " ");
}

/** The anchors that GitHub gives a document's headings. */
function anchorsOf(markdown: string): ReadonlySet<string> {
  const headings = markdown.replaceAll(/^```[\s\S]*?^```$/gm, "").matchAll(/^#+ (.*)$/gm);
  return new Set(
    [...headings].map(([, heading = ""]) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}

const contract = read("docs/kms-contract.md");
const contractNumbers = {
  section: new Set([...contract.matchAll(/^#+ (\d+(?:\.\d+)?)\.? /gm)].map(([, number]) => number)),
  fact: new Set([...(contract.split("## 1.")[0]?.matchAll(/^(\d+)\. /gm) ?? [])].map(([, number]) => number)),
  check: new Set([...contract.matchAll(/^\| (\d+) \|/gm)].map(([, number]) => number)),
} as const;

const numbered = /\b(section|fact|check)s? (\d+(?:\.\d+)*(?:(?:, | and | to )\d+(?:\.\d+)*)*)/g;

/** What is cited by number, e.g. `fact 4`: of "section 0, facts 4 and 6; section 1.5" all four. */
function citedNumbers(text: string): readonly (readonly [kind: "section" | "fact" | "check", number: string])[] {
  return [...text.matchAll(numbered)].flatMap(([, kind, list = ""]) =>
    [...list.matchAll(/\d+(?:\.\d+)*/g)].map(([number]) => [kind as "section", number] as const),
  );
}

suite("The documents", () => {
  test("there is something to look at", () => {
    assert.ok(
      documents.length >= 8 && sources.length > 150,
      `${documents.length} documents, ${sources.length} sources`,
    );
    assert.deepEqual([contractNumbers.fact.size, contractNumbers.check.size], [15, 40]);
    assert.ok(contractNumbers.section.size > 15);
  });

  test("what a comment cites of the architecture is one of its sections", () => {
    const anchors = anchorsOf(read("docs/architecture.md"));
    const cited = [...sources, ...documents].flatMap((path) =>
      [...flat(read(path)).matchAll(/docs\/architecture\.md((?:(?:,| and)? #[a-z-]+)+)/g)].flatMap(([, list = ""]) =>
        [...list.matchAll(/#([a-z-]+)/g)].map(([, anchor = ""]) => ({ path, anchor })),
      ),
    );
    assert.ok(cited.length > 40, `${cited.length} citations`);
    assert.deepEqual(
      cited.filter(({ anchor }) => !anchors.has(anchor)),
      [],
    );
  });

  test("what a comment cites of the contract by number is in it", () => {
    const cited = commented.flatMap((path) =>
      [...flat(read(path)).matchAll(/docs\/kms-contract\.md([^).]*(?:\.\d[^).]*)*)/g)].flatMap(([, list = ""]) => {
        const numbers = citedNumbers(list);
        assert.ok(numbers.length > 0, `${path} cites the contract without a number`);
        return numbers.map(([kind, number]) => ({ path, kind, number }));
      }),
    );
    assert.ok(cited.length > 15, `${cited.length} citations`);
    assert.deepEqual(
      cited.filter(({ kind, number }) => !contractNumbers[kind].has(number)),
      [],
    );
  });

  test("each page of docs/ has a place in the site's sidebar", () => {
    const linked = JSON.stringify(sidebar);
    const pages = documents.filter((path) => path.startsWith("docs/")).map((path) => path.replace(/\.md$/, ""));
    assert.ok(pages.length > 15, `${pages.length} pages`);
    assert.deepEqual(
      pages.filter((page) => !linked.includes(`"/${page}"`)),
      [],
      "docs/.vitepress/sidebar.ts lacks these pages",
    );
    const absent = [...linked.matchAll(/"\/(docs\/[^"]+)"/g)].filter(([, page]) => !documents.includes(`${page}.md`));
    assert.deepEqual(absent, [], "docs/.vitepress/sidebar.ts names pages that are not there");
  });

  test("a file of docs/ that is cited anywhere is there", () => {
    const missing = [...sources, ...documents].flatMap((path) =>
      [...read(path).matchAll(/\bdocs\/[\w./-]+\.(?:md|ts)\b/g)]
        .map(([file]) => ({ path, file }))
        .filter(({ file }) => !existsSync(join(root, file))),
    );
    assert.deepEqual(missing, []);
  });

  test("each check of the contract is in the file that its row names", () => {
    const rows = [...contract.matchAll(/^\| (\d+) \|.*\]\(\.\.\/(test\/conformance\/[\w.]+)\) \|$/gm)];
    assert.equal(rows.length, 40);
    const wrong = rows.filter(([, id = "", file = ""]) => !new RegExp(`^\\s+id: ${id},`, "m").test(read(file)));
    assert.deepEqual(
      wrong.map(([row]) => row),
      [],
    );
  });

  test("relative links lead to files, and to headings in them", () => {
    const links = documents.flatMap((path) =>
      [
        ...read(path)
          .replaceAll(/^```[\s\S]*?^```$/gm, "")
          .matchAll(/\]\((?![a-z]+:)([^)#\s]*)(?:#([^)\s]*))?\)/g),
      ].map(([, file = "", anchor]) => ({ path, target: file === "" ? path : join(dirname(path), file), anchor })),
    );
    assert.ok(links.length > 40, `${links.length} links`);
    const broken = links.filter(
      ({ target, anchor }) =>
        !existsSync(join(root, target)) || (anchor !== undefined && !anchorsOf(read(target)).has(anchor)),
    );
    assert.deepEqual(broken, []);
  });

  test("paths, npm scripts and files that a document names are in the repository", () => {
    const { scripts } = JSON.parse(read("package.json")) as { readonly scripts: Readonly<Record<string, string>> };
    const missing = documents.flatMap((path) => {
      const text = read(path);
      const paths = [...text.matchAll(/`((?:proto|shim|gateway|test|infra|docs)\/[\w./-]*)`/g)]
        .map(([, named = ""]) => named)
        .filter((named) => !existsSync(join(root, named)));
      const runs = [...text.matchAll(/npm run ([\w:-]+)/g)]
        .map(([, script = ""]) => script)
        .filter((script) => scripts[script] === undefined);
      return [...paths, ...runs].map((named) => `${path}: ${named}`);
    });
    assert.deepEqual(missing, []);
  });

  test("each row of a table has as many cells as its head", () => {
    const uneven = documents.flatMap((path) =>
      [...read(path).matchAll(/(?:^\|.*\n?)+/gm)].flatMap(([table]) => {
        const counts = table
          .trim()
          .split("\n")
          .map((row) => row.match(/(?<!\\)\|/g)?.length);
        return counts.every((count) => count === counts[0]) ? [] : [`${path}: ${table.slice(0, 80)}`];
      }),
    );
    assert.deepEqual(uneven, []);
  });

  test("each diagram of the architecture is told in words or in a table, too", () => {
    const after = read("docs/architecture.md")
      .split(/^```mermaid[\s\S]*?^```$/m)
      .slice(1);
    assert.equal(after.length, 4);
    for (const text of after) assert.match(text.trimStart(), /^(?:In words: |\| )/);
  });

  test("an Encrypt passes through at most 12 files, and each has the function that its row names", () => {
    const hops = read("docs/architecture.md").split("\n## Hops\n")[1] ?? "";
    const rows = [...hops.matchAll(/^\| \d+ \| `([^`]+)` \| `([^`]+)` \|/gm)].map(([, file = "", name = ""]) => ({
      file,
      name,
    }));
    assert.ok(rows.length >= 8 && rows.length <= 12, `${rows.length} hops`);
    assert.equal(new Set(rows.map(({ file }) => file)).size, rows.length);
    const wrong = rows.filter(
      ({ file, name }) =>
        !existsSync(join(root, file)) || !new RegExp(`\\b(?:function|const|class) ${name}\\b`).test(read(file)),
    );
    assert.deepEqual(wrong, [], "docs/architecture.md #hops names what is not in the tree");
  });

  test("the help texts point at documents that exist", () => {
    for (const main of ["gateway/server/src/main.ts", "shim/src/main.ts"]) {
      const help = execFileSync(process.execPath, [join(root, main), "--help"], { encoding: "utf8" });
      const named = [...help.matchAll(/\b(?:infra|docs)\/[\w./-]+\w/g)].map(([file]) => file);
      assert.ok(named.length > 0 && named.every((file) => existsSync(join(root, file))), `${main}: ${named.join()}`);
    }
  });

  test("the figures of the architecture are those of the code", () => {
    const text = read("docs/architecture.md").replaceAll("\n", " ");
    const grouped = (count: number): string => count.toLocaleString("en-US");
    const { connections, connectionsPerCluster, connectionsPerIdentity, bodyBytes, bodyBytesPerIdentity } =
      defaultListenLimits;
    const { handshakeMs, headersMs, bodyMs } = defaultListenLimits;
    const figures = [
      `a plaintext is 1 to ${limits.plaintext} bytes`,
      `a ciphertext at most ${grouped(limits.ciphertext)} bytes`,
      `a message at most ${limits.message / 1024} KiB, a batch at most ${limits.batchMessage / 2 ** 20} MiB`,
      `messages of up to ${limits.jsonMessage / 1024} KiB`,
      `carries 1 to ${limits.batchItems} Decrypts`,
      `| items of a batch | ${limits.batchItems},`,
      `of all, of one cluster, of one certificate | ${grouped(connections)}; ${connectionsPerCluster}; ${connectionsPerIdentity}.`,
      `of all, of one node | ${bodyBytes / 2 ** 20} MiB; ${bodyBytesPerIdentity / 2 ** 20} MiB |`,
      `| TLS handshake, headers, body, the reply until it is taken | ${handshakeMs / 1000} s each |`,
    ];
    assert.deepEqual([headersMs, bodyMs], [handshakeMs, handshakeMs]);
    assert.deepEqual(
      figures.filter((figure) => !text.includes(figure)),
      [],
    );
  });
});
