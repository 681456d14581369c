// What is packaged as deb and rpm: Node.js, and the four programs that use it.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import type { Bundle } from "./bundles.ts";
import { cliManual, completions } from "./cli-manual.ts";
import { lockedPackage } from "./locked.ts";
import { maintainer, type Package } from "./nfpm.ts";
import { nodeFiles, type Parts } from "./parts.ts";
import { type Architecture, nodePackages } from "./pins.ts";
import { debScripts, rpmScripts } from "./scripts.ts";
import { type Service, services } from "./service.ts";
import { serviceManual } from "./service-manual.ts";
import { root, type Source } from "./source.ts";
import { type Entry, file } from "./tar.ts";

const library = "usr/lib/claviger";
/** SELinux's reference policy lets systemd start what is in libexec as a service; in lib it would be taken for a library. */
const node = "usr/libexec/claviger/node";

/** Node.js for the programs: they use no other, and it is nobody else's `node`. */
export async function nodePackage(architecture: Architecture, parts: Parts): Promise<Package> {
  const { binary, licence } = await nodeFiles(parts.node[architecture]);
  return {
    name: "claviger-node",
    version: lockedPackage(`node_modules/${nodePackages[architecture]}`).version,
    architecture,
    summary: "Node.js for the programs of Claviger",
    about: "In a place of its own: no other program uses it, and they use no other.",
    licence: "MIT",
    entries: [file(node, binary, 0o755), file("usr/share/doc/claviger-node/copyright", licence)],
    configuration: new Set(),
    // What the binary of Node.js 24 needs.
    depends: {
      deb: ["libc6 (>= 2.28)", "libstdc++6 (>= 9)", "libgcc-s1"],
      rpm: ["glibc >= 2.28", "libstdc++ >= 8", "libgcc"],
    },
  };
}

function filesOf(texts: Readonly<Record<string, string>>): readonly Entry[] {
  return Object.entries(texts).map(([path, text]) => file(path.replace(/^\//, ""), text));
}

/** Compressed, as distributions have them. */
function manualEntries(pages: Readonly<Record<string, string>>): readonly Entry[] {
  return Object.entries(pages).map(([name, text]) =>
    file(`usr/share/man/man${name.at(-1)}/${name}.gz`, gzipSync(text, { level: 9 })),
  );
}

/** Its script, its licences, and a command of its name. */
function programEntries(bundle: Bundle, source: Source): readonly Entry[] {
  return [
    ...bundle.entries.map((entry) => ({ ...entry, path: `${library}/${entry.path}` })),
    file(`usr/bin/${bundle.name}`, `#!/bin/sh\nexec /${node} /${library}/${bundle.name}.mjs "$@"\n`, 0o755),
    file(
      `usr/share/doc/${bundle.name}/copyright`,
      `${readFileSync(join(root, "LICENSE"), "utf8")}\n${"-".repeat(72)}\n\nInside the program:\n\n${bundle.licences}`,
    ),
    changeLog(bundle.name, source),
  ];
}

/** Where Debian's tools look for what is new: the releases have one list for all programs. */
function changeLog(name: string, { version, epoch }: Source): Entry {
  const date = new Date(epoch * 1000).toUTCString().replace("GMT", "+0000");
  const text = `${name} (${version}) stable; urgency=medium\n\n  * See CHANGELOG.md of release ${version}.\n\n -- ${maintainer}  ${date}\n`;
  return file(`usr/share/doc/${name}/changelog.gz`, gzipSync(text, { level: 9 }));
}

function needsNode(): Package["depends"] {
  const { version } = lockedPackage(`node_modules/${nodePackages.amd64}`);
  return { deb: [`claviger-node (>= ${version})`], rpm: [`claviger-node >= ${version}`] };
}

/** The CLI. */
export function cliPackage(bundle: Bundle, source: Source): Package {
  return {
    name: "claviger",
    version: source.version,
    architecture: "all",
    summary: "Runs a fleet of Claviger gateways and the keys behind them",
    about: "The command line of operators: clusters, nodes, keys, certificates, records.",
    licence: "Apache-2.0",
    entries: [...programEntries(bundle, source), ...manualEntries(cliManual(source)), ...filesOf(completions())],
    configuration: new Set(),
    depends: needsNode(),
  };
}

function servicePackage(service: Service, bundle: Bundle, scratch: string, source: Source): Package {
  const { deb, rpm } = needsNode();
  const script = join(scratch, `${service.name}.mjs`);
  const content = bundle.entries.find(({ path }) => path === `${service.name}.mjs`);
  if (content?.kind !== "file") throw new TypeError(`${service.name} has no script`);
  writeFileSync(script, content.content);
  return {
    name: service.name,
    version: source.version,
    architecture: "all",
    summary: service.summary,
    about: service.about,
    licence: "Apache-2.0",
    entries: [
      ...programEntries(bundle, source),
      ...manualEntries(serviceManual(service, script, source)),
      ...filesOf(service.files),
      ...filesOf(service.configuration),
    ],
    configuration: new Set(Object.keys(service.configuration)),
    depends: {
      deb: [...deb, "systemd | systemd-standalone-sysusers", "systemd | systemd-standalone-tmpfiles", "passwd"],
      rpm: [...rpm, "systemd"],
    },
    scripts: { deb: debScripts(service), rpm: rpmScripts(service) },
  };
}

/**
 * Shim, gateway and fleet service.
 * @param scratch a directory that it may write to
 */
export function servicePackages(
  bundleOf: (name: Service["name"]) => Bundle,
  scratch: string,
  source: Source,
): readonly Package[] {
  return services().map((service) => servicePackage(service, bundleOf(service.name), scratch, source));
}
