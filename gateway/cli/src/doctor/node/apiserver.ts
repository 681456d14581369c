// The static pod of kube-apiserver, as far as the way to its KMS plugin goes: flags, mounts, user.
import { z } from "@claviger/proto/runtime/config.ts";
import { CheckError } from "@claviger/proto/runtime/check.ts";
import { parseYaml } from "@claviger/proto/runtime/config.ts";

const securityContext = z.optional(
  z.looseObject({
    runAsUser: z.optional(z.number()),
    runAsGroup: z.optional(z.number()),
    fsGroup: z.optional(z.number()),
    supplementalGroups: z.optional(z.array(z.number())),
  }),
);
const pod = z.looseObject({
  spec: z.looseObject({
    securityContext,
    containers: z.array(
      z.looseObject({
        name: z.string(),
        command: z.optional(z.array(z.string())),
        args: z.optional(z.array(z.string())),
        securityContext,
        volumeMounts: z.optional(
          z.array(z.looseObject({ name: z.string(), mountPath: z.string(), subPath: z.optional(z.string()) })),
        ),
      }),
    ),
    volumes: z.optional(
      z.array(
        z.looseObject({
          name: z.string(),
          hostPath: z.optional(z.looseObject({ path: z.string(), type: z.optional(z.string()) })),
        }),
      ),
    ),
  }),
});

/** A part of the machine's file system that the pod sees. */
export type Mount = { readonly inPod: string; readonly onHost: string; readonly type: string | undefined };

export type ApiServerPod = {
  readonly flags: ReadonlyMap<string, string>;
  readonly mounts: readonly Mount[];
  /** Root where the manifest does not say it. */
  readonly uid: number;
  readonly gid: number;
  /** Further groups, as kubeadm gives them to a kube-apiserver that does not run as root. */
  readonly groups: readonly number[];
};

function flagsOf(words: readonly string[]): ReadonlyMap<string, string> {
  const flags = new Map<string, string>();
  for (const [at, word] of words.entries()) {
    const match = /^--([a-z0-9-]+)(?:=(.*))?$/s.exec(word);
    if (match === null) continue;
    const next = words[at + 1];
    const value = match[2] ?? (next === undefined || next.startsWith("--") ? "" : next);
    flags.set(match[1] ?? "", value);
  }
  return flags;
}

/**
 * Reads a manifest.
 * @throws CheckError where it is no pod of kube-apiserver; ConfigError where it is no YAML
 */
export function readApiServer(file: string, text: string): ApiServerPod {
  const parsed = pod.safeParse(parseYaml(file, text));
  if (!parsed.success) throw new CheckError(`${file} is no manifest of a pod`, "give the manifest of kube-apiserver");
  const { containers, volumes = [], securityContext: ofPod } = parsed.data.spec;
  const words = ({ command = [], args = [] }: (typeof containers)[number]): readonly string[] => [...command, ...args];
  const container = containers.find((one) => words(one).some((word) => /(?:^|\/)kube-apiserver$/.test(word)));
  if (container === undefined)
    throw new CheckError(`no container of ${file} runs kube-apiserver`, "give the manifest of kube-apiserver");
  const hostPaths = new Map(volumes.flatMap(({ name, hostPath }) => (hostPath ? [[name, hostPath] as const] : [])));
  const mounts = (container.volumeMounts ?? []).flatMap(({ name, mountPath, subPath }): readonly Mount[] => {
    const host = hostPaths.get(name);
    if (host === undefined) return [];
    const onHost = subPath === undefined ? host.path : `${host.path}/${subPath}`;
    return [{ inPod: mountPath.replace(/(?<=.)\/$/, ""), onHost: onHost.replace(/(?<=.)\/$/, ""), type: host.type }];
  });
  return {
    flags: flagsOf(words(container)),
    mounts,
    uid: container.securityContext?.runAsUser ?? ofPod?.runAsUser ?? 0,
    gid: container.securityContext?.runAsGroup ?? ofPod?.runAsGroup ?? 0,
    groups: [...(ofPod?.supplementalGroups ?? []), ...(ofPod?.fsGroup === undefined ? [] : [ofPod.fsGroup])],
  };
}

/** The mount that a path of the pod lies in, the innermost; undefined where it is none of the machine's. */
export function mountOf(mounts: readonly Mount[], path: string): Mount | undefined {
  return mounts
    .filter(({ inPod }) => path === inPod || path.startsWith(inPod === "/" ? "/" : `${inPod}/`))
    .toSorted((a, b) => b.inPod.length - a.inPod.length)[0];
}

/** Where a path of the pod is on the machine. */
export function onHost({ inPod, onHost: host }: Mount, path: string): string {
  return `${host}${path.slice(inPod === "/" ? 0 : inPod.length)}`;
}
