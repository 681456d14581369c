// Makes a release: everything that an operator gets, in one directory. The same commit gives the same
// bytes: test/run/release.ts is the command.
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Bundle, makeBundle, type Program, programs } from "./bundles.ts";
import { baseLayer, imageArchive } from "./image.ts";
import { makePackage, packageFile, packagers } from "./nfpm.ts";
import { nodePackage, programPackages } from "./packages.ts";
import type { Parts } from "./parts.ts";
import { architectures } from "./pins.ts";
import type { Source } from "./source.ts";
import { signSums, writeSums } from "./sums.ts";

export type ReleaseOptions = {
  /** Made, or empty. */
  readonly out: string;
  /** Before the name of each image: `registry.example/team`. */
  readonly imagePrefix: string;
  /** The file of minisign's secret key; no signature without it. */
  readonly signKey: string | undefined;
  readonly source: Source;
  readonly parts: Parts;
  /** Says what is being made. */
  readonly say: (text: string) => void;
};

/** Programs that have an image, and its name. */
const images: readonly (readonly [Program, string])[] = [
  ["claviger-shim", "shim"],
  ["claviger-gateway", "gateway"],
  ["claviger-fleet", "fleet"],
  ["claviger", "cli"],
];

/** @throws Error with what to do, where `out` has files or a part does not work */
export async function makeRelease({ out, imagePrefix, signKey, source, parts, say }: ReleaseOptions): Promise<void> {
  mkdirSync(out, { recursive: true });
  if (readdirSync(out).length > 0) throw new Error(`${out} is not empty: name another directory, or remove it`);
  const scratch = mkdtempSync(join(tmpdir(), "claviger-release-"));
  try {
    say("bundles");
    const bundles = new Map<Program, Bundle>();
    for (const name of Object.keys(programs) as Program[]) bundles.set(name, await makeBundle(name, scratch));

    say("images");
    const bases = new Map(
      await Promise.all(
        architectures.map(
          async (architecture) => [architecture, await baseLayer(architecture, parts, source)] as const,
        ),
      ),
    );
    for (const [program, image] of images) {
      const bundle = bundles.get(program);
      if (bundle === undefined) throw new TypeError(`${program} was not bundled`);
      const archive = await imageArchive({ image, prefix: imagePrefix, bundle, bases, source });
      writeFileSync(join(out, `claviger-${image}-${source.version}.oci.tar`), archive);
    }

    say("packages");
    const packages = [
      ...(await Promise.all(architectures.map((architecture) => nodePackage(architecture, parts)))),
      ...programPackages(bundles, new Map(), source),
    ];
    for (const pkg of packages)
      for (const packager of packagers)
        makePackage(pkg, packager, {
          nfpm: parts.nfpm,
          scratch: mkdtempSync(join(scratch, "package-")),
          target: join(out, packageFile(pkg, packager)),
          source,
        });

    writeSums(out);
    if (signKey !== undefined) signSums(out, signKey, source);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
