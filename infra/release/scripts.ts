// What a package manager runs as root: the user, the directories, the unit. deb and rpm say in
// different words what they are doing.
import type { Service } from "./service.ts";

export type Scripts = { readonly postinstall: string; readonly preremove: string; readonly postremove: string };

function script(...lines: readonly string[]): string {
  return `#!/bin/sh\nset -e\n${lines.join("\n")}\n`;
}

const hasSystemd = "[ -d /run/systemd/system ]";
/** A manager that does not answer is no reason to leave a package half installed. */
const reload = `if ${hasSystemd}; then systemctl daemon-reload || true; fi`;

function install({ name, files }: Service): readonly string[] {
  const tmpfiles = `/usr/lib/tmpfiles.d/${name}.conf`;
  return [
    `systemd-sysusers /usr/lib/sysusers.d/${name}.conf`,
    // Where there is no /proc, as in an image that is being built, the next boot does it.
    ...(files[tmpfiles] === undefined ? [] : [`systemd-tmpfiles --create ${tmpfiles} || true`]),
    reload,
  ];
}

/**
 * Runs again with the new program. A service that was never started is not: it has to be configured first.
 * @param systemctl or what asks the machine's policy before (https://www.debian.org/doc/debian-policy/ch-opersys.html#policy-rc-d)
 */
function restart({ name }: Service, systemctl: "systemctl" | "deb-systemd-invoke"): string {
  return `if ${hasSystemd}; then ${systemctl} try-restart ${name}.service || true; fi`;
}

/** In an image that is being built there is nothing to stop, and a link to remove all the same. */
function stop({ name }: Service): string {
  return `if ${hasSystemd}; then systemctl disable --now ${name}.service || true; elif command -v systemctl >/dev/null; then systemctl disable ${name}.service || true; fi`;
}

function purge({ name, state, isPrecious }: Service): readonly string[] {
  const removed = [`/var/cache/${state}`, ...(isPrecious ? [] : [`/var/lib/${state}`, "/run/claviger"])];
  const log = `/var/log/${name}`;
  // Keys, an authority, records: nothing brings them back.
  const kept = isPrecious ? [`/var/lib/${state}`, log] : [];
  return [
    `rm -rf ${removed.join(" ")}`,
    ...kept.flatMap((directory) => [
      `if [ -d ${directory} ] && ! rmdir ${directory} 2>/dev/null; then`,
      `  echo "${name}: ${directory} stays: what is in it cannot be made again" >&2; kept=1`,
      "fi",
    ]),
    // What an administrator put there.
    `if [ -d /etc/claviger ] && getent passwd ${name} >/dev/null; then`,
    `  files=$(find /etc/claviger -user ${name})`,
    '  if [ -n "$files" ]; then',
    `    echo "${name}: these stay, and their owner with them, until you remove them and run 'userdel ${name}':" $files >&2; kept=1`,
    "  fi",
    "fi",
    // Files that stay keep their owner: their number would be the next new user's, who could read a key.
    `if [ -z "$kept" ] && getent passwd ${name} >/dev/null; then userdel ${name} 2>/dev/null || true; fi`,
  ];
}

export function debScripts(service: Service): Scripts {
  return {
    postinstall: script(
      'if [ "$1" = configure ]; then',
      ...install(service),
      `if [ -n "$2" ]; then ${restart(service, "deb-systemd-invoke")}; fi`,
      "fi",
    ),
    preremove: script('if [ "$1" = remove ]; then', stop(service), "fi"),
    postremove: script(reload, 'if [ "$1" = purge ]; then', "kept=", ...purge(service), "fi"),
  };
}

/** An rpm has no purge: what a service made stays. */
export function rpmScripts(service: Service): Scripts {
  return {
    postinstall: script(...install(service), `if [ "$1" -gt 1 ]; then ${restart(service, "systemctl")}; fi`),
    preremove: script(`if [ "$1" = 0 ]; then ${stop(service)}; fi`),
    postremove: script(reload),
  };
}
