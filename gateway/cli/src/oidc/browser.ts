// Opens a page in the operator's browser: $BROWSER, or what the system opens pages with.
import { spawn } from "node:child_process";
import { platform } from "node:os";

/** @returns whether a program was started for it */
export function openBrowser(url: string, { BROWSER }: Readonly<Record<string, string | undefined>>): Promise<boolean> {
  const usual = platform() === "darwin" ? "open" : "xdg-open";
  const program = BROWSER === undefined || BROWSER === "" ? usual : BROWSER;
  return new Promise((resolve) => {
    const child = spawn(program, [url], { stdio: "ignore", detached: true });
    child.once("error", () => resolve(false));
    child.once("spawn", () => {
      child.unref();
      resolve(true);
    });
  });
}
