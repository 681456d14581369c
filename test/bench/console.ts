// How the console takes a fleet of many clusters: first paint, filter, sort, and how long until all rows are there.
// `node test/bench/console.ts [CLUSTERS]`; needs chromium (`node test/parts/install.ts`).
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildConsole } from "../../infra/console.ts";
import type { Page } from "../lab/chromium.ts";
import { createProcessGroup } from "../lab/process-group.ts";
import { startConsoles } from "../real/console/site.ts";
import { medianOf } from "./calls.ts";
import { nodesOf, startManyClusters, writeNodes } from "./many.ts";

const rounds = 7;

function print(what: string, times: readonly number[], goal?: number): void {
  const worst = Math.max(...times).toFixed(0);
  const wanted = goal === undefined ? "" : `   goal: below ${goal}`;
  console.log(`${what.padEnd(62)} ${medianOf(times).toFixed(0)} (${worst})${wanted}`);
}

/** From an input to the frame after the page shows what it asks for, milliseconds, as the page measures it. */
export async function timed(page: Page, act: string, isDone: string): Promise<number> {
  return await page.evaluate<number>(`new Promise((resolve, reject) => {
    const began = performance.now();
    const look = () => {
      if (${isDone}) requestAnimationFrame(() => resolve(performance.now() - began));
      else if (performance.now() - began > 60000) reject(new Error("it did not come: " + document.querySelector("main").textContent.slice(0, 200)));
      else setTimeout(look, 0);
    };
    ${act};
    look();
  })`);
}

/** Writes into the filter as somebody who types does. */
export function type(text: string): string {
  return `{
    const field = document.querySelector("input[type=search]");
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(field, ${JSON.stringify(text)});
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }`;
}

const status = `document.querySelector("main [role=status]").textContent`;
export const shows = (text: string): string => `${status}.replaceAll("\\u202f", "").includes(${JSON.stringify(text)})`;
const firstRow = `document.querySelector("tbody tr:not(.space) th").textContent`;

async function measure(page: Page, clusters: number): Promise<void> {
  const filters: number[] = [];
  const sorts: number[] = [];
  for (let i = 0; i < rounds; i += 1) {
    filters.push(await timed(page, type("cluster-77"), `!${shows(`${clusters} of`)}`));
    filters.push(await timed(page, type(""), shows(`${clusters} of ${clusters}`)));
    const click = (title: string): string =>
      `[...document.querySelectorAll("button.sort")].find((one) => one.textContent.startsWith("${title}")).click()`;
    // Descending, then ascending: each is all rows anew.
    await timed(page, click("State"), `document.querySelector("th[aria-sort]").textContent.startsWith("State")`);
    sorts.push(await timed(page, click("Cluster"), `${firstRow} === "cluster-1"`));
    sorts.push(await timed(page, click("Cluster"), `${firstRow} !== "cluster-1"`));
    sorts.push(
      await timed(
        page,
        click("First expiry"),
        `document.querySelector("th[aria-sort]").textContent.startsWith("First")`,
      ),
    );
    await timed(page, click("Cluster"), `${firstRow} === "cluster-1"`);
  }
  print("filter, ms (longest)", filters, 100);
  print("sort, ms (longest)", sorts, 100);
  const scrolls: number[] = [];
  for (let i = 1; i <= rounds; i += 1) {
    const top = Math.floor((clusters * 36 * i) / (rounds + 1));
    const wanted = Math.floor(top / 36) + 5;
    scrolls.push(
      await timed(
        page,
        `document.querySelector(".window").scrollTop = ${top}`,
        `document.querySelector("tr[aria-rowindex='${wanted}']") !== null`,
      ),
    );
  }
  print("scroll to another place, ms (longest)", scrolls);
}

async function main(clusters: number): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "claviger-"));
  const processes = createProcessGroup(dir);
  try {
    const directory = join(dir, "pages");
    await buildConsole(directory);
    const many = await startManyClusters(processes, dir, clusters, { console: { directory } });
    const reports = await writeNodes(many.redis, many.secret, nodesOf(clusters));
    const consoles = await startConsoles(many.fleet);
    try {
      const { page } = await consoles.open("vera");
      const paints: number[] = [];
      const rows: number[] = [];
      const whole: number[] = [];
      for (let i = 0; i < rounds; i += 1) {
        await page.goto("about:blank");
        const began = Date.now();
        await page.goBack();
        await page.evaluate(`location.hash = "#/fleet"`);
        await page.locator("tbody tr[aria-rowindex='2']").waitFor();
        rows.push(Date.now() - began);
        await timed(page, "", shows(`${clusters} of ${clusters}`));
        whole.push(Date.now() - began);
        paints.push(await page.evaluate<number>(`performance.getEntriesByName("first-contentful-paint")[0].startTime`));
      }
      print("first paint, ms (longest)", paints, 1000);
      print("first rows of the table, ms (longest)", rows);
      print(`all ${clusters} rows, ms (longest)`, whole);
      await measure(page, clusters);
      const heap = await page.evaluate<number>("performance.memory.usedJSHeapSize");
      console.log(`${"memory of the page, MiB".padEnd(62)} ${(heap / 2 ** 20).toFixed(0)}`);
    } finally {
      await consoles.close();
      reports.close();
      await many.close();
    }
  } finally {
    await processes.stopAll();
    await rm(dir, { recursive: true, force: true });
  }
}

if (import.meta.main) await main(Number(process.argv[2] ?? 10_000));
