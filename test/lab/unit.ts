// The shipped systemd unit, as far as it can be had without systemd: its command, environment, user,
// limits and system call filter. Not its mounts and namespaces.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..", "..");
/** Debian's own: another Python has no python3-seccomp. */
const python = "/usr/bin/python3";

export type Unit = {
  /** The values of a setting, in order. */
  all(name: string): readonly string[];
  /** The one value of a setting. @throws Error when there is none, or more than one */
  one(name: string): string;
};

export function readUnit(file = join(root, "infra", "shim", "claviger-shim.service")): Unit {
  const pairs = readFileSync(file, "utf8")
    .split("\n")
    .flatMap((line) => {
      const [, name, value] = /^(\w+)=(.*)$/.exec(line) ?? [];
      return name === undefined || value === undefined ? [] : [[name, value] as const];
    });
  const all = (name: string): readonly string[] => pairs.filter(([key]) => key === name).map(([, value]) => value);
  return {
    all,
    one(name) {
      const [value, ...others] = all(name);
      if (value === undefined || others.length > 0)
        throw new Error(`${name}= stands ${others.length + 1} times or never`);
      return value;
    },
  };
}

/** The system calls of a set, sets within it included; one call stands for itself. */
function callsOf(name: string): readonly string[] {
  if (!name.startsWith("@")) return [name];
  const text = execFileSync("systemd-analyze", ["syscall-filter", "--no-pager", name], { encoding: "utf8" });
  const members = text
    .split("\n")
    .slice(1)
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
  if (members.length === 0) throw new Error(`systemd-analyze knows no set ${name}`);
  return members.flatMap(callsOf);
}

/**
 * What the lines of SystemCallFilter= let through, one after the other: the first one makes it a
 * list of what is allowed, `~` takes away again. systemd adds @default to such a list.
 */
export function allowedCalls(lines: readonly string[]): ReadonlySet<string> {
  if (lines[0] === undefined || lines[0].startsWith("~")) throw new Error("the filter is no list of what is allowed");
  const allowed = new Set(callsOf("@default"));
  for (const line of lines) {
    const takesAway = line.startsWith("~");
    for (const name of line.replace("~", "").split(/\s+/).flatMap(callsOf))
      if (takesAway) allowed.delete(name);
      else allowed.add(name);
  }
  return allowed;
}

const families: Readonly<Record<string, number>> = { AF_UNIX: 1, AF_INET: 2, AF_INET6: 10 };

/**
 * The unit's ExecStart=, under its filter, user and limits. Needs root.
 * @param replaced the paths in it that are elsewhere here
 * @param root the directory that is `/` for it
 */
export function unitCommand(
  unit: Unit,
  {
    replaced,
    more = [],
    root: top,
  }: { readonly replaced: Readonly<Record<string, string>>; readonly more?: readonly string[]; readonly root?: string },
): readonly string[] {
  if (
    unit.one("LimitCORE") !== "0" ||
    unit.one("NoNewPrivileges") !== "yes" ||
    unit.one("CapabilityBoundingSet") !== ""
  )
    throw new Error("the sandbox is made for a unit without core dumps, privileges and capabilities");
  const missing = new Set(Object.keys(replaced));
  const command = unit
    .one("ExecStart")
    .split(" ")
    .map((word) => (missing.delete(word) ? (replaced[word] ?? word) : word));
  if (missing.size > 0) throw new Error(`ExecStart= has no ${[...missing].join(", ")}`);
  const settings = {
    ...(top !== undefined && { root: top }),
    user: Number(unit.one("User")),
    group: Number(unit.one("Group")),
    umask: Number.parseInt(unit.one("UMask"), 8),
    families: unit
      .one("RestrictAddressFamilies")
      .split(" ")
      .map((name) => families[name]),
    allowed: [...allowedCalls(unit.all("SystemCallFilter"))],
  };
  return [python, join(import.meta.dirname, "sandbox.py"), JSON.stringify(settings), ...command, ...more];
}
