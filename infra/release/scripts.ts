// What a package manager runs as root: the user, the directories, the unit. deb and rpm say in
// different words what they are doing.
import type { Service } from "./service.ts";

export type Scripts = { readonly postinstall: string; readonly preremove: string; readonly postremove: string };

function script(...lines: readonly string[]): string {
  return `#!/bin/sh\nset -e\n${lines.join("\n")}\n`;
}

const hasSystemd = "[ -d /run/systemd/system ]";

function install({ name, files }: Service): readonly string[] {
  const tmpfiles = `/usr/lib/tmpfiles.d/${name}.conf`;
  return [
    `systemd-sysusers /usr/lib/sysusers.d/${name}.conf`,
    // Where there is no /proc, as in an image that is being built, the next boot does it.
    ...(files[tmpfiles] === undefined ? [] : [`systemd-tmpfiles --create ${tmpfiles} || true`]),
    `if ${hasSystemd}; then systemctl daemon-reload; fi`,
  ];
}

/** Runs again with the new program. A service that was never started is not: it has to be configured first. */
function restart({ name }: Service): string {
  return `if ${hasSystemd}; then systemctl try-restart ${name}.service || true; fi`;
}

function stop({ name }: Service): string {
  return `if ${hasSystemd}; then systemctl disable --now ${name}.service || true; fi`;
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
    // Files that stay keep their owner.
    `if [ -z "$kept" ] && getent passwd ${name} >/dev/null; then userdel ${name} 2>/dev/null || true; fi`,
  ];
}

export function debScripts(service: Service): Scripts {
  return {
    postinstall: script(
      'if [ "$1" = configure ]; then',
      ...install(service),
      `if [ -n "$2" ]; then ${restart(service)}; fi`,
      "fi",
    ),
    preremove: script('if [ "$1" = remove ]; then', stop(service), "fi"),
    postremove: script(
      `if ${hasSystemd}; then systemctl daemon-reload; fi`,
      'if [ "$1" = purge ]; then',
      "kept=",
      ...purge(service),
      "fi",
    ),
  };
}

/** An rpm has no purge: what a service made stays. */
export function rpmScripts(service: Service): Scripts {
  return {
    postinstall: script(...install(service), `if [ "$1" -gt 1 ]; then ${restart(service)}; fi`),
    preremove: script(`if [ "$1" = 0 ]; then ${stop(service)}; fi`),
    postremove: script(`if ${hasSystemd}; then systemctl daemon-reload; fi`),
  };
}
