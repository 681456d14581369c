// The real lab with two clusters and the console in a real browser, for operators of each role.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LabFleetService } from "../../lab/fleet-service.ts";
import { operators } from "../../lab/fleet-service.ts";
import { type Browser, type Page, startChromium } from "../../lab/chromium.ts";
import { type ConsoleProxy, startConsoleProxy } from "../../lab/console-proxy.ts";
import { type KmsClient, kmsClient } from "../../lab/kms.ts";
import { type Lab, startLab } from "../../lab/lab.ts";
import { claviger, type CliResult } from "../cli/claviger.ts";

/** What a page did that its policy forbids, and what its scripts failed with. */
export type Watched = {
  readonly page: Page;
  readonly wrong: readonly string[];
  /** What opened it, once. */
  readonly link: string;
};

export type Consoles = {
  readonly browser: Browser;
  /** Opens the console as an operator, in a browser of their own. */
  open(operator: string): Promise<Watched>;
  close(): Promise<void>;
};

const pictures = process.env["CLAVIGER_SCREENSHOTS"];

/** Makes a picture for docs/console.md, where $CLAVIGER_SCREENSHOTS names a directory. */
export async function picture(page: Page, name: string, colorScheme: "light" | "dark"): Promise<void> {
  if (pictures === undefined) return;
  mkdirSync(pictures, { recursive: true });
  await page.emulateMedia({ colorScheme });
  await page.setViewportSize({ width: 1180, height: 740 });
  await page.screenshot({ path: join(pictures, `${name}-${colorScheme}.png`) });
}

/** Notes what must not happen on a page, from its first script on. */
export async function watch(page: Page): Promise<readonly string[]> {
  const wrong: string[] = [];
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("dialog", (dialog) => {
    wrong.push(`a dialog of the browser: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("console", (message) => {
    if (message.type() === "error" && /Content Security Policy|TrustedHTML|TrustedScript/.test(message.text()))
      wrong.push(message.text());
  });
  page.on("request", (request) => {
    if (request.url().includes("csp-report")) wrong.push(`a report: ${request.postData() ?? ""}`);
  });
  await page.addInitScript(
    "document.addEventListener('securitypolicyviolation', (e) => console.error('Content Security Policy: ' + e.violatedDirective + ' ' + e.blockedURI))",
  );
  return wrong;
}

/** `claviger console` for each operator, and a browser that opens its link. */
export async function startConsoles(fleet: Pick<LabFleetService, "options">): Promise<Consoles> {
  const browser = await startChromium();
  const proxies: ConsoleProxy[] = [];
  return {
    browser,
    async open(operator) {
      const proxy = await startConsoleProxy(await fleet.options(operator));
      proxies.push(proxy);
      const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
      const page = await context.newPage();
      const wrong = await watch(page);
      await page.goto(proxy.link);
      await page.getByRole("heading", { level: 1 }).waitFor();
      return { page, wrong, link: proxy.link };
    },
    async close() {
      await browser.close();
      await Promise.all(proxies.map((proxy) => proxy.end()));
    },
  };
}

export type ConsoleSite = {
  readonly lab: Lab;
  readonly fleet: LabFleetService;
  readonly consoles: Consoles;
  readonly kms: readonly KmsClient[];
  /** The command line, as an operator. */
  run(operator: string, ...args: readonly string[]): Promise<CliResult>;
  /** The record of a cluster, as the registry's file has it. */
  registry(): string;
  /** Asks for a Status of each shim from now on, as kube-apiservers do. @returns stops that */
  ask(): () => void;
  stop(): Promise<void>;
};

const askMs = 500;

export async function startConsoleSite(): Promise<ConsoleSite> {
  const dir = await mkdtemp(join(tmpdir(), "claviger-"));
  const lab = await startLab({
    dir,
    gateways: 2,
    shims: 2,
    clusters: 2,
    fleet: true,
    shimExtra: { outage: { healthyFor: "0s", degradedFor: "1h" } },
    fleetExtra: {
      operators: { ...operators, lab: { role: "admin" }, anna: { role: "admin" } },
      approvals: { methods: ["resume"], store: { kind: "directory", directory: join(dir, "approvals") } },
    },
  });
  const { fleet } = lab;
  assert.ok(fleet !== undefined);
  const known = new Map<string, Promise<readonly string[]>>();
  /** Each operator has one certificate: its files are read again and again. */
  const options = (operator: string): Promise<readonly string[]> => {
    const made = known.get(operator) ?? fleet.options(operator);
    known.set(operator, made);
    return made;
  };
  const kms = lab.shims.map(({ socket }) => kmsClient(socket));
  const consoles = await startConsoles({ options });
  const asking = new Set<NodeJS.Timeout>();
  return {
    lab,
    fleet,
    consoles,
    kms,
    run: async (operator, ...args) => await claviger([...args, ...(await options(operator))]),
    registry: () => readFileSync(lab.registry, "utf8"),
    ask() {
      const timer = setInterval(() => {
        for (const one of kms) one.status().catch(() => {});
      }, askMs);
      asking.add(timer);
      return () => {
        clearInterval(timer);
        asking.delete(timer);
      };
    },
    async stop() {
      for (const timer of asking) clearInterval(timer);
      await consoles.close();
      for (const one of kms) one.close();
      await lab.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
