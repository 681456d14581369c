// Debian's Chromium, as tests drive it. The only file that imports playwright-core.
import { type Browser, chromium, type Locator, type Page } from "playwright-core";
import { onPath } from "../parts/find.ts";

export type { Browser, Locator, Page };

export async function startChromium(): Promise<Browser> {
  const executablePath = onPath("chromium");
  if (executablePath === undefined) throw new Error("chromium is missing: run 'node test/parts/install.ts'");
  // As root it runs without a sandbox or not at all.
  const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  return await chromium.launch({ executablePath, args: [...args, "--disable-dev-shm-usage"] });
}
