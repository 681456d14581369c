// What --check tries of a backend. (docs/architecture.md #backends.)
import { accessSync, constants, existsSync } from "node:fs";
import { dirname } from "node:path";
import { type Check, CheckError, type Found } from "@claviger/proto/runtime/check.ts";
import { silentLog } from "@claviger/proto/runtime/log.ts";
import { backendName } from "@claviger/proto/wire/names.ts";
import type { BackendConfig } from "./config.ts";
import { openEmbeddedBackend } from "./embedded.ts";
import { type CheckedBackend, checkVault } from "./vault/check.ts";

export type { CheckedBackend } from "./vault/check.ts";

async function tryKeyFile(name: string, file: string): Promise<Found<true>> {
  await openEmbeddedBackend({ name: backendName.parse(name), file, log: silentLog });
  try {
    accessSync(dirname(file), constants.W_OK | constants.X_OK);
  } catch (error) {
    const { code = "unknown error" } = error as NodeJS.ErrnoException;
    throw new CheckError(
      `${dirname(file)} cannot be written to (${code})`,
      "make it, or give it to the gateway's user",
    );
  }
  return { found: existsSync(file) ? `${file} can be used` : `${file} is made with the first key`, value: true };
}

/**
 * Adds the rows of a backend.
 * @returns what a start would work with; undefined where there is nothing to connect to, or no token
 */
export async function checkBackend(
  check: Check,
  name: string,
  config: BackendConfig,
): Promise<CheckedBackend | undefined> {
  if (config.kind === "vault") return await checkVault(check, backendName.parse(name), config);
  // Its keys are made when they are first asked for, and a check makes nothing.
  await check.step(`backend ${name}`, () => tryKeyFile(name, config.file));
  return undefined;
}
