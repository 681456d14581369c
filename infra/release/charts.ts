// What a release has for Kubernetes and for Vault beside its images: the Helm charts, each as Helm packages it, and one
// archive of everything else that is applied: kustomize trees, the OpenTofu module, rules and dashboards.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { parseDocument } from "yaml";
import { root, type Source } from "./source.ts";
import { type Entry, file, tarOf } from "./tar.ts";

/** The images that a chart starts, by where its values name them. What is not here is somebody else's, or optional. */
const charts: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  claviger: { "gateway.image.repository": "gateway", "fleet.image.repository": "fleet" },
  "claviger-shim": { "image.repository": "shim" },
};

/** Not for those who install: code, what images are built from, and the charts, which have archives of their own. */
const isApplied = (path: string): boolean => !/\.ts$|^infra\/(?:image|charts|release)\//.test(path);

/** Files of the commit, links followed, by path. */
function tracked(directory: string): readonly Entry[] {
  const paths = execFileSync("git", ["ls-files", "-z", directory], { cwd: root, encoding: "utf8" }).split("\0");
  return paths.filter((path) => path !== "").map((path) => file(path, readFileSync(join(root, path))));
}

/** values.yaml with the images of the release; comments stay. */
function withImages(values: string, images: Readonly<Record<string, string>>, prefix: string): string {
  const document = parseDocument(values);
  for (const [place, image] of Object.entries(images)) document.setIn(place.split("."), `${prefix}/${image}`);
  return document.toString({ lineWidth: 0 });
}

/**
 * The archives by name.
 * @param imagePrefix where the images will be; undefined: the values name none, and the charts ask for one
 */
export async function deploymentArchives(
  imagePrefix: string | undefined,
  { version, epoch }: Source,
): Promise<ReadonlyMap<string, Buffer>> {
  const archives = new Map<string, Buffer>();
  for (const [name, images] of Object.entries(charts)) {
    const entries = tracked(`infra/charts/${name}`).map((entry) => {
      const path = entry.path.replace("infra/charts/", "");
      if (imagePrefix === undefined || entry.kind !== "file" || path !== `${name}/values.yaml`)
        return { ...entry, path };
      return file(path, withImages(entry.content.toString("utf8"), images, imagePrefix));
    });
    archives.set(`helm-${name}-${version}.tgz`, gzipSync(await tarOf(entries, epoch)));
  }
  const top = `claviger-infra-${version}`;
  const others = [...tracked("infra").filter(({ path }) => isApplied(path)), ...tracked("docs/runbooks")];
  archives.set(
    `${top}.tar.gz`,
    gzipSync(
      await tarOf(
        others.map((entry) => ({ ...entry, path: `${top}/${entry.path}` })),
        epoch,
      ),
    ),
  );
  return archives;
}
