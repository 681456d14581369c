// Runs test/run/NAME.ts on a machine with nothing but Node.js (18 or newer) and npm: installs the packages, finds Node 24 among them.
// Plain JavaScript, no imports from node_modules: it has to work before they exist.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const modules = join(root, "node_modules");
const stamp = join(modules, ".claviger-installed");
const lock = join(root, ".npm-ci-lock");
const [name, ...args] = process.argv.slice(2);

const say = (text) => process.stderr.write(`${text}\n`);
const fail = (text) => {
  say(text);
  process.exit(1);
};

const wanted = createHash("sha256")
  .update(readFileSync(join(root, "package-lock.json")))
  .digest("hex");
const isInstalled = () => {
  try {
    return readFileSync(stamp, "utf8") === wanted;
  } catch {
    return false;
  }
};

const node24 = () => {
  const packaged = join(modules, `node-${process.platform}-${process.arch}`, "bin", "node");
  if (existsSync(packaged)) return packaged;
  return Number(process.versions.node.split(".")[0]) >= 24 ? process.execPath : undefined;
};

const sleep = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

const takeLock = () => {
  try {
    mkdirSync(lock);
    return true;
  } catch {
    return false;
  }
};

const install = async () => {
  // A second start waits for the first; a lock whose owner died is taken over.
  for (let waited = 0; !takeLock(); waited += 1) {
    if (waited === 0) say("Another start is installing the npm packages; waiting for it ...");
    if (Date.now() - statSync(lock, { throwIfNoEntry: false })?.mtimeMs > 10 * 60_000) rmSync(lock, { recursive: true, force: true });
    sleep(500);
    if (isInstalled()) return;
  }
  process.on("exit", () => rmSync(lock, { recursive: true, force: true }));
  if (isInstalled()) return rmSync(lock, { recursive: true, force: true });
  say("Installing the npm packages (once, about a minute) ...");
  const began = Date.now();
  const tick = setInterval(() => say(`  still installing, ${Math.round((Date.now() - began) / 1000)} s`), 10_000);
  const status = await new Promise((resolve) => {
    const npm = spawn("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], {
      cwd: root,
      stdio: ["ignore", "ignore", "inherit"],
    });
    npm.once("error", () => fail("npm cannot be run: install Node.js together with npm, then try again."));
    npm.once("close", resolve);
  });
  clearInterval(tick);
  if (status !== 0) fail("'npm ci --ignore-scripts' failed, see above; when the registry can be reached, try again.");
  writeFileSync(stamp, wanted);
  rmSync(lock, { recursive: true, force: true });
};

if (!isInstalled()) await install();
const node = node24() ?? fail("Node.js 24 or newer is needed on this platform: install it, then try again.");
if (spawnSync(node, ["--version"]).status !== 0) fail(`${node} does not run on this system: install Node.js 24 or newer, then try again.`);

const child = spawn(node, [join(root, "test", "run", `${name}.ts`), ...args], {
  stdio: "inherit",
  env: { ...process.env, PATH: `${join(modules, ".bin")}${delimiter}${process.env.PATH}` },
});
// A terminal's Ctrl-C reaches the child by itself; a signal sent to us is passed on. Either way the child decides when it is over.
process.on("SIGINT", () => {});
for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.once("close", (code, signal) => {
  process.exitCode = code ?? (signal === "SIGINT" ? 130 : 143);
});
