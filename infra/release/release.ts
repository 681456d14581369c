// Makes a release: everything that an operator gets, in one directory. The same commit gives the same
// bytes: test/run/release.ts is the command.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Bundle, makeBundle, type Program, programs } from "./bundles.ts";
import { baseLayer, imageArchive } from "./image.ts";
import { deploymentArchives } from "./charts.ts";
import { makePackage, packageFile, packagers } from "./nfpm.ts";
import { npmArchive } from "./npm.ts";
import { npmPackages } from "./npm-packages.ts";
import { cliPackage, nodePackage, servicePackages } from "./packages.ts";
import type { Parts } from "./parts.ts";
import { architectures } from "./pins.ts";
import { billOf, type Component, libraryComponents, nodeComponent, npmComponent } from "./sbom.ts";
import type { Source } from "./source.ts";
import { signSums, writeSums } from "./sums.ts";

export type ReleaseOptions = {
  /** Made, or empty. */
  readonly out: string;
  /** Before the name of each image: `registry.example/team`; a name that resolves nowhere when undefined. */
  readonly imagePrefix: string | undefined;
  /** Before the name of each npm package, `@example`; they cannot be published without it. */
  readonly npmScope: string | undefined;
  /** The file of minisign's secret key; no signature without it. */
  readonly signKey: string | undefined;
  readonly source: Source;
  readonly parts: Parts;
  /** What the Node.js that runs this is made of: `process.versions`. */
  readonly nodeVersions: NodeJS.ProcessVersions;
  /** Says what is being made. */
  readonly say: (text: string) => void;
};

/** Resolves nowhere. */
const nobody = "registry.invalid/claviger";
/** Programs that have an image, and its name. */
const images: readonly (readonly [Program, string])[] = [
  ["claviger-shim", "shim"],
  ["claviger-gateway", "gateway"],
  ["claviger-fleet", "fleet"],
  ["claviger", "cli"],
];

/** @throws Error with what to do, where `out` has files or a part does not work */
export async function makeRelease(options: ReleaseOptions): Promise<void> {
  const { out, imagePrefix, npmScope, signKey, source, parts, nodeVersions, say } = options;
  const node = new Map(architectures.map((architecture) => [architecture, nodeComponent(architecture, nodeVersions)]));
  mkdirSync(out, { recursive: true });
  if (readdirSync(out).length > 0) throw new Error(`${out} is not empty: name another directory, or remove it`);
  const scratch = mkdtempSync(join(tmpdir(), "claviger-release-"));
  /** A file of the release, and beside it what is in it. */
  const bill = async (file: string, version: string, components: readonly Component[]): Promise<void> => {
    const content = readFileSync(join(out, file));
    const kind = file.endsWith(".oci.tar") ? "container" : "application";
    writeFileSync(join(out, `${file}.cdx.json`), await billOf({ file, content, version, kind }, components, source));
  };
  try {
    say("bundles");
    const bundles = new Map<Program, Bundle>();
    for (const name of Object.keys(programs) as Program[]) bundles.set(name, await makeBundle(name, scratch));
    const bundleOf = (name: Program): Bundle => {
      const bundle = bundles.get(name);
      if (bundle === undefined) throw new TypeError(`${name} was not bundled`);
      return bundle;
    };
    const inside = (name: Program): readonly Component[] => bundleOf(name).packages.map(npmComponent);

    say("npm packages");
    for (const pkg of npmPackages(bundleOf)) {
      const file = `${pkg.name}-${source.version}.tgz`;
      writeFileSync(join(out, file), await npmArchive(pkg, npmScope, source));
      await bill(file, source.version, inside(pkg.bundle.name));
    }

    say("charts");
    for (const [file, archive] of await deploymentArchives(imagePrefix, source))
      writeFileSync(join(out, file), archive);

    say("images");
    const bases = new Map(
      await Promise.all(
        architectures.map(
          async (architecture) => [architecture, await baseLayer(architecture, parts, source)] as const,
        ),
      ),
    );
    const base = architectures.flatMap((architecture) => [
      ...[...node].filter(([of]) => of === architecture).map(([, component]) => component),
      ...libraryComponents(architecture),
    ]);
    for (const [program, image] of images) {
      const archive = await imageArchive({
        image,
        prefix: imagePrefix ?? nobody,
        bundle: bundleOf(program),
        bases,
        source,
      });
      const file = `claviger-${image}-${source.version}.oci.tar`;
      writeFileSync(join(out, file), archive);
      await bill(file, source.version, [...inside(program), ...base]);
    }

    say("deb and rpm packages");
    const packages = [
      ...(await Promise.all(
        [...node].map(async ([architecture, component]) => ({
          pkg: await nodePackage(architecture, parts),
          components: [component],
        })),
      )),
      { pkg: cliPackage(bundleOf("claviger"), source), components: inside("claviger") },
      ...servicePackages(bundleOf, scratch, source).map((pkg) => ({ pkg, components: inside(pkg.name as Program) })),
    ];
    for (const { pkg, components } of packages)
      for (const packager of packagers) {
        const file = packageFile(pkg, packager);
        const directory = mkdtempSync(join(scratch, "package-"));
        makePackage(pkg, packager, { nfpm: parts.nfpm, scratch: directory, target: join(out, file), source });
        await bill(file, pkg.version, components);
      }

    writeSums(out);
    if (signKey !== undefined) signSums(out, signKey, source);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
