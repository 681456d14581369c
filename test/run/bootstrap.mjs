// Runs test/run/NAME.ts on a machine with nothing but Node.js (18 or newer) and npm: installs the
// packages, finds Node 24 among them. Plain JavaScript, no imports from node_modules: it has to
// work before they exist.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const modules = join(root, "node_modules");
const lock = join(root, ".npm-ci-lock");
const [name, ...args] = process.argv.slice(2);

const say = (text) => process.stderr.write(`${text}\n`);
const fail = (text) => {
  say(text);
  process.exit(1);
};

const packagesOf = (file) => JSON.parse(readFileSync(file, "utf8")).packages;

// npm writes node_modules/.package-lock.json last: without it an installation was cut off, and with
// other versions it is an old one.
const isInstalled = () => {
  try {
    const present = packagesOf(join(modules, ".package-lock.json"));
    return Object.entries(packagesOf(join(root, "package-lock.json"))).every(
      ([path, { version, optional }]) =>
        !path.startsWith("node_modules/") || optional || present[path]?.version === version,
    );
  } catch {
    return false;
  }
};

const node24 = () => {
  const packaged = join(modules, `node-${process.platform}-${process.arch}`, "bin", "node");
  if (existsSync(packaged)) return packaged;
  return Number(process.versions.node.split(".")[0]) >= 24 ? process.execPath : undefined;
};

const takeLock = () => {
  try {
    writeFileSync(lock, String(process.pid), { flag: "wx" });
    return true;
  } catch (error) {
    if (error.code !== "EEXIST") fail(`The npm packages cannot be installed: ${error.message}`);
    return false;
  }
};

const isOwnerAlive = () => {
  try {
    process.kill(Number(readFileSync(lock, "utf8")) || process.pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
};

const install = async () => {
  // A second start waits for the first, and takes over from one that has died.
  for (let isWaiting = false; !takeLock(); isWaiting = true) {
    if (!isWaiting) say("Another start is installing the npm packages; waiting for it ...");
    if (!isOwnerAlive()) rmSync(lock, { force: true });
    else await sleep(500);
  }
  process.on("exit", () => rmSync(lock, { force: true }));
  if (isInstalled()) return;
  say("Installing the npm packages (once, about a minute) ...");
  const began = Date.now();
  const tick = setInterval(() => say(`  still installing, ${Math.round((Date.now() - began) / 1000)} s`), 10_000);
  // Errors alone: with an old Node.js npm would warn of every package that wants a newer one, and
  // that is among the packages.
  const npm = spawn("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: root,
    stdio: ["ignore", "ignore", "inherit"],
  });
  npm.once("error", () => fail("npm cannot be run: install Node.js together with npm, then try again."));
  let isStopped = false;
  const stop = () => {
    isStopped = true;
    npm.kill("SIGTERM");
    setTimeout(() => npm.kill("SIGKILL"), 2000);
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, stop);
  const status = await new Promise((resolve) => npm.once("close", resolve));
  for (const each of ["SIGINT", "SIGTERM", "SIGHUP"]) process.off(each, stop);
  clearInterval(tick);
  if (isStopped) process.exit(130);
  if (status !== 0) fail("'npm ci --ignore-scripts' failed, see above; when the registry can be reached, try again.");
  rmSync(lock, { force: true });
};

if (!isInstalled()) await install();
const node = node24() ?? fail("Node.js 24 or newer is needed on this platform: install it, then try again.");
if (spawnSync(node, ["--version"]).status !== 0)
  fail(`${node} does not run on this system: install Node.js 24 or newer, then try again.`);

const child = spawn(node, [join(root, "test", "run", `${name}.ts`), ...args], {
  stdio: "inherit",
  env: { ...process.env, PATH: `${join(modules, ".bin")}${delimiter}${process.env.PATH}` },
});
// A terminal's Ctrl-C reaches the child by itself; a signal sent to us is passed on. Either way the
// child decides when it is over.
process.on("SIGINT", () => {});
for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.once("close", (code, signal) => {
  process.exitCode = code ?? (signal === "SIGINT" ? 130 : 143);
});
