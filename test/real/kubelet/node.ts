// A node of a cluster: a real containerd with images on its disk, and a real kubelet. Several nodes of one machine share its
// network, as if they were one host with several kubelets.
import { findBinary } from "../../parts/find.ts";
import type { ProcessGroup } from "../../lab/process-group.ts";
import { type Containerd, startContainerd } from "./containerd.ts";
import { programImage } from "./images.ts";
import { type NodePlace, startKubelet } from "./kubelet.ts";

/** The image that holds the namespaces of each pod. */
export const pauseImage = "registry.invalid/pause:1";

/** @param archives of images, which are on the node from the start, as an administrator's registry would have brought them */
export async function startNode(
  processes: ProcessGroup,
  archives: readonly string[],
  options: NodePlace & { readonly kubeconfig: string },
): Promise<Containerd> {
  const { dir, name, index } = options;
  const containerd = await startContainerd(processes, { dir, name, index, pause: pauseImage });
  for (const archive of [programImage(dir, pauseImage, findBinary("pause")), ...archives])
    containerd.ctr("images", "import", archive);
  startKubelet(processes, { ...options, containerd });
  return containerd;
}
