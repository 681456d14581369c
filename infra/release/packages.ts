// What is packaged as deb and rpm: Node.js, and the four programs that use it.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Bundle } from "./bundles.ts";
import { lockedPackage } from "./locked.ts";
import type { Package } from "./nfpm.ts";
import { nodeFiles, type Parts } from "./parts.ts";
import { type Architecture, nodePackages } from "./pins.ts";
import { debScripts, rpmScripts } from "./scripts.ts";
import { type Service, services } from "./service.ts";
import { root, type Source } from "./source.ts";
import { type Entry, file } from "./tar.ts";

const library = "usr/lib/claviger";

/** Node.js for the programs: they use no other, and it is nobody else's `node`. */
export async function nodePackage(architecture: Architecture, parts: Parts): Promise<Package> {
  const { binary, licence } = await nodeFiles(parts.node[architecture]);
  return {
    name: "claviger-node",
    version: lockedPackage(`node_modules/${nodePackages[architecture]}`).version,
    architecture,
    description: "Node.js for the programs of Claviger",
    licence: "MIT",
    entries: [file(`${library}/node`, binary, 0o755), file("usr/share/doc/claviger-node/copyright", licence)],
    configuration: new Set(),
    // What the binary of Node.js 24 needs.
    depends: {
      deb: ["libc6 (>= 2.28)", "libstdc++6 (>= 9)", "libgcc-s1"],
      rpm: ["glibc >= 2.28", "libstdc++ >= 8", "libgcc"],
    },
  };
}

/** Its script, its licences, and a command of its name. */
function programEntries(bundle: Bundle, flags: string): readonly Entry[] {
  return [
    ...bundle.entries.map((entry) => ({ ...entry, path: `${library}/${entry.path}` })),
    file(
      `usr/bin/${bundle.name}`,
      `#!/bin/sh\nexec /${library}/node ${flags}/${library}/${bundle.name}.mjs "$@"\n`,
      0o755,
    ),
    file(
      `usr/share/doc/${bundle.name}/copyright`,
      `${readFileSync(join(root, "LICENSE"), "utf8")}\n${"-".repeat(72)}\n\nInside the program:\n\n${bundle.licences}`,
    ),
  ];
}

function filesOf(texts: Readonly<Record<string, string>>): readonly Entry[] {
  return Object.entries(texts).map(([path, text]) => file(path.slice(1), text));
}

function node(nodeVersion: string): Package["depends"] {
  return { deb: [`claviger-node (>= ${nodeVersion})`], rpm: [`claviger-node >= ${nodeVersion}`] };
}

function servicePackage(service: Service, bundle: Bundle, nodeVersion: string, { version }: Source): Package {
  const depends = node(nodeVersion);
  return {
    name: service.name,
    version,
    architecture: "all",
    description: service.description,
    licence: "Apache-2.0",
    entries: [...programEntries(bundle, ""), ...filesOf(service.files), ...filesOf(service.configuration)],
    configuration: new Set(Object.keys(service.configuration)),
    depends: {
      deb: [...depends.deb, "systemd | systemd-standalone-sysusers", "systemd | systemd-standalone-tmpfiles", "passwd"],
      rpm: [...depends.rpm, "systemd"],
    },
    scripts: { deb: debScripts(service), rpm: rpmScripts(service) },
  };
}

/**
 * The packages of the programs.
 * @param more further files of a package, by its name: manual pages, completion
 */
export function programPackages(
  bundles: ReadonlyMap<string, Bundle>,
  more: ReadonlyMap<string, readonly Entry[]>,
  source: Source,
): readonly Package[] {
  const nodeVersion = lockedPackage(`node_modules/${nodePackages.amd64}`).version;
  const bundleOf = (name: string): Bundle => {
    const bundle = bundles.get(name);
    if (bundle === undefined) throw new TypeError(`${name} was not bundled`);
    return bundle;
  };
  const cli: Package = {
    name: "claviger",
    version: source.version,
    architecture: "all",
    description: "Runs a fleet of Claviger gateways and the keys behind them",
    licence: "Apache-2.0",
    entries: programEntries(bundleOf("claviger"), ""),
    configuration: new Set(),
    depends: node(nodeVersion),
  };
  return [
    cli,
    ...services().map((service) => servicePackage(service, bundleOf(service.name), nodeVersion, source)),
  ].map((pkg) => ({ ...pkg, entries: [...pkg.entries, ...(more.get(pkg.name) ?? [])] }));
}
