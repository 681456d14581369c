// Writes the shim's static pod to the node that it runs on, and takes a change back that does not serve. Asks no API server:
// the node must come out of it by itself when Secrets, and with them the release, cannot be read. It is not the shim, and
// nothing needs it once it is done. It stands alone: the ConfigMap has it as installer.mts, beside installer.json, and the
// Node.js of the shim's image runs it.
import { chmod, chown, mkdir, readdir, readFile, readlink, rename, rm, stat, writeFile } from "node:fs/promises";
import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";

/** installer.json, as templates/configmap.yaml writes it: paths of the node, as they are mounted. */
type Settings = {
  readonly state: "present" | "absent";
  readonly attempt: number;
  readonly settleSeconds: number;
  readonly socket: string;
  readonly owner: number;
  readonly group: number;
  readonly enrolled: string;
  /** The shim's, http://HOST:PORT. */
  readonly health: string;
  /** Files without which the shim does not start. */
  readonly needs: readonly string[];
  readonly lookIn: string;
  readonly manifest: string;
  readonly config: string;
  readonly tmpfiles: string;
  readonly unixSockets: string;
};
type Files = { readonly manifest: string | undefined; readonly config: string | undefined };
/** A change that has not served yet: what the node had before, and how the shim was. `at`: milliseconds. */
type Pending = {
  readonly before: Files;
  readonly served: boolean;
  readonly holder: string | undefined;
  readonly at: number;
};

const settingsFile = process.argv[2] ?? "";
const settings = JSON.parse(await readFile(settingsFile, "utf8")) as Settings;
const { manifest, config, tmpfiles, socket, health } = settings;
const [pendingFile, refusedFile] = [`${config}.pending`, `${config}.refused`];

// As PID 1 it has no default for these. Whatever it is doing stays as it is, and the next one goes on with it.
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => process.exit(0));

function say(text: string): void {
  process.stdout.write(`${JSON.stringify({ time: new Date().toISOString(), msg: text })}\n`);
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

async function textOf(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

function shipped(name: string): Promise<string> {
  return readFile(join(dirname(settingsFile), name), "utf8");
}

// kubelet skips files that begin with a dot; a half written manifest is none.
async function put(file: string, text: string): Promise<void> {
  if ((await textOf(file)) === text) return;
  const beside = join(dirname(file), `.${process.pid}.claviger`);
  await writeFile(beside, text, { mode: 0o644 });
  await rename(beside, file);
}

/** A directory that kubelet has made is root's, and the shim is not root. One that is somebody's is left as it is. */
async function give(dir: string, mode: number, group: number): Promise<void> {
  await mkdir(dir, { recursive: true });
  if ((await stat(dir)).uid !== 0) return;
  await chmod(dir, mode);
  await chown(dir, settings.owner, group);
}

async function missingFiles(): Promise<readonly string[]> {
  const missing: string[] = [];
  for (const file of settings.needs)
    try {
      await stat(file);
    } catch (error) {
      // Another error is that of a directory which is the shim's alone.
      if (isAbsent(error)) missing.push(file);
    }
  return missing;
}

/** What the shim says of itself: whether it lives, and how long ago a gateway answered it well, seconds. */
async function look(): Promise<{ readonly lives: boolean; readonly age: number | undefined }> {
  const get = (path: string): Promise<Response> => fetch(`${health}${path}`, { signal: AbortSignal.timeout(2000) });
  try {
    const [live, ready] = [await get("/livez"), await get("/readyz")];
    const { phase, secondsSinceGood } = (await ready.json()) as { phase: number; secondsSinceGood: number | null };
    return { lives: live.ok, age: phase === 0 ? (secondsSinceGood ?? undefined) : undefined };
  } catch {
    return { lives: false, age: undefined };
  }
}

/** Which shim holds the socket: its path is a link to the one of that shim alone. */
async function holder(): Promise<string | undefined> {
  try {
    return await readlink(socket);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

/**
 * Until another shim than `before` serves; undefined once it does, else what was the matter at the end. A shim that only
 * lives on what the one before knew is ready, too: where gateways answered before, one has to answer the new one.
 */
async function untilServing({ holder: before, served, at }: Pending): Promise<string | undefined> {
  const end = Date.now() + settings.settleSeconds * 1000;
  // What was answered after that, was answered to the new one.
  let since = at;
  for (;;) {
    const now = await holder();
    const isNew = now !== undefined && now !== before;
    if (now === before) since = Date.now();
    const { lives, age } = await look();
    const isAnswered = age !== undefined && age * 1000 < Date.now() - since;
    const problem = !isNew
      ? "it does not hold the socket"
      : !lives
        ? `${health}/livez does not answer 200`
        : served && !isAnswered
          ? "no gateway answers it, and one answered the shim before it"
          : undefined;
    if (problem === undefined || Date.now() > end) return problem;
    await wait(isNew ? 500 : 100);
  }
}

/** Resolves with the status to end with; 0: all is as it is to be. */
async function install(): Promise<number> {
  await give(dirname(socket), 0o750, settings.group);
  await give(settings.enrolled, 0o700, settings.owner);
  for (let missing = await missingFiles(); missing.length > 0; missing = await missingFiles()) {
    say(`waiting for ${missing.join(", ")}: the node has no certificate; claviger-shim enroll gets one`);
    await wait(10_000);
  }
  const next = { manifest: await shipped("claviger-shim.yaml"), config: await shipped("shim.yaml") };
  const change = createHash("sha256")
    .update(JSON.stringify([next, settings.attempt]))
    .digest("hex");
  if ((await textOf(refusedFile)) === change) {
    say("this change was taken back on this node; correct the values, or try it again with a higher staticPod.attempt");
    return 1;
  }
  await put(tmpfiles, await shipped("claviger-shim.conf"));

  const there: Files = { manifest: await textOf(manifest), config: await textOf(config) };
  // What has not served is nothing to go back to: an earlier change that was not done with keeps its own way back.
  const earlier = JSON.parse((await textOf(pendingFile)) ?? "null") as Pending | null;
  if (there.manifest === next.manifest && there.config === next.config && earlier === null) {
    say("in place");
    return 0;
  }
  const pending = earlier ?? {
    before: there,
    served: (await look()).age !== undefined,
    holder: await holder(),
    at: Date.now(),
  };
  await put(pendingFile, JSON.stringify(pending));
  await put(config, next.config);
  await put(manifest, next.manifest);
  say(`written: ${manifest}, ${config}`);

  const problem = await untilServing(pending);
  const { before } = pending;
  if (problem === undefined) {
    for (const file of [pendingFile, refusedFile]) await rm(file, { force: true });
    say("serves");
    return 0;
  }
  if (before.manifest === undefined || before.config === undefined) {
    say(
      `does not serve: ${problem}; there is nothing to go back to, so it stays. See the log of the pod claviger-shim`,
    );
    return 1;
  }
  await put(refusedFile, change);
  await put(config, before.config);
  await put(manifest, before.manifest);
  await rm(pendingFile, { force: true });
  say(`does not serve within ${settings.settleSeconds} s: ${problem}; the node is back at what it had`);
  return 1;
}

/** Files below a directory that name the socket, other than the shim's own. */
async function namers(dir: string): Promise<readonly string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const found: string[] = [];
  for (const entry of entries.filter((one) => one.isFile() && one.name !== "claviger-shim.yaml")) {
    const file = join(entry.parentPath, entry.name);
    if ((await readFile(file, "utf8")).includes(socket)) found.push(file.slice(dir.length));
  }
  return found;
}

/** Connections to the socket: rows of state 03 (connected), by the path that the shim is bound to. */
async function connections(): Promise<number> {
  const bound = await holder();
  if (bound === undefined) return 0;
  const path = join(dirname(socket), bound);
  const rows = (await readFile(settings.unixSockets, "utf8")).split("\n");
  return rows.filter((row) => row.endsWith(` ${path}`) && row.trim().split(/\s+/)[5] === "03").length;
}

async function remove(): Promise<number> {
  for (;;) {
    const [files, open] = [await namers(settings.lookIn), await connections()];
    if (files.length === 0 && open === 0) break;
    const reasons = [
      ...(files.length === 0 ? [] : [`${files.join(", ")} name ${socket}`]),
      ...(open === 0 ? [] : [`${open} connections to it are open, kube-apiserver's as a rule`]),
    ];
    say(`not removed: ${reasons.join("; ")}. Take it out of every EncryptionConfiguration first (docs/bootstrap.md)`);
    await wait(10_000);
  }
  for (const file of [manifest, config, tmpfiles, pendingFile, refusedFile]) await rm(file, { force: true });
  say("removed");
  return 0;
}

try {
  const status = await (settings.state === "present" ? install() : remove());
  if (status !== 0) process.exit(status);
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exit(1);
}
// A DaemonSet starts what ends again: done is to stay.
setInterval(() => {}, 2 ** 30);
