// Images as archives of an OCI layout, one for each program, with an image for each architecture. Put
// together here and not by a builder, so that nothing of the machine gets into them
// (https://github.com/opencontainers/image-spec: image-layout.md, image-index.md, manifest.md, config.md).
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import type { Bundle } from "./bundles.ts";
import { lockedPackage } from "./locked.ts";
import { libraryEntries, nodeFiles, type Parts } from "./parts.ts";
import { type Architecture, nodePackages } from "./pins.ts";
import { root, type Source } from "./source.ts";
import { type Entry, file, tarOf } from "./tar.ts";

/** A layer, compressed, with the hashes of both forms. */
type Layer = { readonly blob: Buffer; readonly diffId: string };
type Descriptor = { readonly mediaType: string; readonly digest: string; readonly size: number };

const types = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar+gzip",
} as const;

function digestOf(content: Buffer): string {
  return `sha256:${createHash("sha256").update(content).digest("hex")}`;
}

async function layerOf(entries: readonly Entry[], { epoch }: Source): Promise<Layer> {
  const tar = await tarOf(entries, epoch);
  return { blob: gzipSync(tar), diffId: digestOf(tar) };
}

/** Node.js, the libraries that it loads, and two lines of /etc/passwd: the same in all images of an architecture. */
export async function baseLayer(architecture: Architecture, parts: Parts, source: Source): Promise<Layer> {
  const { binary, licence } = await nodeFiles(parts.node[architecture]);
  return layerOf(
    [
      file("usr/bin/node", binary, 0o755),
      file("usr/share/doc/node/LICENSE", licence),
      ...(await libraryEntries(architecture, parts)),
      file("etc/passwd", "claviger:x:65532:65532:claviger:/nonexistent:/sbin/nologin\n"),
      file("etc/group", "claviger:x:65532:\n"),
    ],
    source,
  );
}

/** The words of an instruction of a Dockerfile: the release and `docker build` start a program alike. */
function instruction(dockerfile: string, word: "ENTRYPOINT" | "CMD"): readonly string[] {
  const found = new RegExp(`^${word} (\\[.*\\])$`, "m").exec(dockerfile)?.[1];
  if (found === undefined) throw new Error(`a Dockerfile has no ${word}`);
  return JSON.parse(found) as string[];
}

/** What stands in a Dockerfile's second line. */
function titleOf(dockerfile: string): string {
  return dockerfile.split("\n")[1]?.replace(/^# /, "") ?? "";
}

/** Where the binary of Node.js is from: Node.js' own list of hashes is not asked for. */
export function nodeOrigin(architecture: Architecture): string {
  const { name, version, integrity } = lockedPackage(`node_modules/${nodePackages[architecture]}`);
  return `npm:${name}@${version} ${integrity}`;
}

/**
 * An archive with one image for each architecture.
 * @param image the name of its Dockerfile, and the last part of its name
 * @param prefix stands before it: `registry.example/team`
 */
export async function imageArchive({
  image,
  prefix,
  bundle,
  bases,
  source,
}: {
  readonly image: string;
  readonly prefix: string;
  readonly bundle: Bundle;
  readonly bases: ReadonlyMap<Architecture, Layer>;
  readonly source: Source;
}): Promise<Buffer> {
  const { version, revision, epoch } = source;
  const created = new Date(epoch * 1000).toISOString();
  const blobs = new Map<string, Buffer>();
  const add = (mediaType: string, content: Buffer | object): Descriptor => {
    const blob = Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content));
    const digest = digestOf(blob);
    blobs.set(digest, blob);
    return { mediaType, digest, size: blob.length };
  };
  const dockerfile = readFileSync(join(root, "infra", "image", `${image}.Dockerfile`), "utf8");
  const top = await layerOf(
    [
      ...bundle.entries.map((entry) => {
        const path = entry.path === `${bundle.name}.mjs` ? "app/main.mjs" : `app/${entry.path}`;
        return { ...entry, path };
      }),
      file("LICENSE", readFileSync(join(root, "LICENSE"))),
      file("usr/share/doc/claviger/licences.txt", bundle.licences),
    ],
    source,
  );
  const labels = {
    "org.opencontainers.image.title": `claviger ${image}`,
    "org.opencontainers.image.description": titleOf(dockerfile),
    "org.opencontainers.image.version": version,
    "org.opencontainers.image.revision": revision,
    "org.opencontainers.image.created": created,
    "org.opencontainers.image.licenses": "Apache-2.0",
  };
  const manifests = [...bases].map(([architecture, base]) => {
    const layers = [base, top];
    const config = add(types.config, {
      created,
      architecture,
      os: "linux",
      config: {
        User: "65532:65532",
        Entrypoint: instruction(dockerfile, "ENTRYPOINT"),
        Cmd: instruction(dockerfile, "CMD"),
        WorkingDir: "/",
        Labels: { ...labels, "claviger.node.origin": nodeOrigin(architecture) },
      },
      rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
      history: ["Node.js and the libraries that it loads", `claviger ${image}`].map((comment) => ({
        created,
        created_by: "npm run release",
        comment,
      })),
    });
    const manifest = add(types.manifest, {
      schemaVersion: 2,
      mediaType: types.manifest,
      config,
      layers: layers.map(({ blob }) => add(types.layer, blob)),
      annotations: labels,
    });
    return { ...manifest, platform: { architecture, os: "linux" } };
  });
  const index = add(types.index, { schemaVersion: 2, mediaType: types.index, manifests, annotations: labels });
  const names = {
    "org.opencontainers.image.ref.name": version,
    // By which `ctr images import` calls it.
    "io.containerd.image.name": `${prefix}/${image}:${version}`,
  };
  const layout = { schemaVersion: 2, mediaType: types.index, manifests: [{ ...index, annotations: names }] };
  return tarOf(
    [
      file("oci-layout", JSON.stringify({ imageLayoutVersion: "1.0.0" })),
      file("index.json", JSON.stringify(layout)),
      ...[...blobs].map(([digest, blob]) => file(`blobs/${digest.replace(":", "/")}`, blob)),
    ],
    epoch,
  );
}
