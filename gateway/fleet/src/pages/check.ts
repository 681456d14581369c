// What --check tries of the console: its files, and the issuer that browsers log in at.
import type { Check } from "@claviger/proto/runtime/check.ts";
import type { FleetConfig } from "../config.ts";
import { createCodeFlow } from "../oidc/code-flow.ts";
import { readAssets } from "./assets.ts";
import { callbackPath } from "./login.ts";

/** Adds its rows. @param beside where the pages are where the configuration does not say it */
export async function checkConsole(
  check: Check,
  { console: settings, oidc }: FleetConfig,
  beside: string,
): Promise<void> {
  const { enabled, directory = beside, url, login } = settings;
  if (!enabled) return;
  await check.step("console", () => {
    const assets = readAssets(directory);
    if (assets !== undefined) return { found: `${assets.size} files of ${directory}`, value: true };
    const found = `${directory} is not there: the console is not served`;
    const cure = "npm run build makes it beside the bundle; or set console.directory, or console.enabled: false";
    return { found: "", value: true, more: [{ verdict: "warning", found, cure }] };
  });
  const issuer = login && Object.entries(oidc).find(([name]) => name === login.issuer)?.[1];
  if (login === undefined || issuer === undefined) return;
  await check.step("console login", async () => {
    const redirectUri = `${url}${callbackPath}`;
    const { scopes, clientSecretFile } = login;
    await createCodeFlow({ config: issuer, redirectUri, scopes, clientSecretFile }).begin();
    return {
      found: `${issuer.issuer} answers; its client ${issuer.audience} must have the redirect URI ${redirectUri}`,
      value: true,
    };
  });
}
