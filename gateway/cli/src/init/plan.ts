// What `claviger init` is asked for, and a file that it writes.

export const distros = ["kubeadm", "k3s", "rke2", "talos", "kind", "generic"] as const;
export type Distro = (typeof distros)[number];
export const forms = ["systemd", "static-pod"] as const;
export type Form = (typeof forms)[number];

export type Plan = {
  readonly distro: Distro;
  readonly form: Form;
  readonly cluster: string;
  readonly node: string;
  /** https://HOST:PORT */
  readonly gateways: readonly string[];
  /** The path of the shim's socket, on the machine and in kube-apiserver's pod. */
  readonly socket: string;
  /** The fleet service that the node enrolls at; undefined: somebody else issues its certificate. */
  readonly enroll: string | undefined;
  /** Of the shim, for a static pod. */
  readonly image: string;
  /** Providers of Secrets in the EncryptionConfiguration in use, as they stand there. */
  readonly existing: readonly object[];
  /** Its entries for other resources, which stay as they are. */
  readonly others: readonly object[];
};

export type OutFile = {
  /** Below the directory that is written. */
  readonly name: string;
  readonly text: string;
  /** Where it goes. */
  readonly place: string;
  /** It may hold keys of a provider that is in use. */
  readonly isSecret?: boolean;
};
