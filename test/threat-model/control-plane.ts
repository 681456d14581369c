// A control plane of one row: a real etcd and a real kube-apiserver, a Secret in them, and a copy of
// known text beside it that every search has to find.
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type ApiServer, type Etcd, startApiServer, startEtcd } from "../lab/kubernetes.ts";
import { etcdClient } from "../lab/etcd-client.ts";
import { createProcessGroup } from "../lab/process-group.ts";
import { searchFor } from "./evidence.ts";
import { type Cell, type Finding, giving, tested } from "./row.ts";
import { type Control, filesOf, filesWithControl, memoryOf, type Place, type Sought } from "./search.ts";

export type ControlPlane = {
  readonly api: ApiServer;
  readonly etcd: Etcd;
  readonly etcdFiles: string;
  /** What else lies on the node's disk: of kube-apiserver, and of a plugin. */
  readonly nodeFiles: readonly string[];
  stop(): Promise<void>;
};

type Options = {
  /** A folder of its own, made when missing. */
  readonly dir: string;
  readonly encryption?: string;
  /** Where etcd keeps its files, and a command line that runs it there. */
  readonly etcdHome?: string;
  readonly etcdThrough?: readonly string[];
};

export async function startControlPlane({
  dir,
  encryption,
  etcdHome = dir,
  etcdThrough,
}: Options): Promise<ControlPlane> {
  mkdirSync(join(dir, "logs"), { recursive: true, mode: 0o700 });
  const processes = createProcessGroup(join(dir, "logs"));
  try {
    const etcd = await startEtcd(processes, etcdHome, etcdThrough);
    const api = await startApiServer({ processes, dir, name: "kube-apiserver", etcd, encryption });
    await api.waitReady();
    return {
      api,
      etcd,
      etcdFiles: join(etcdHome, "etcd"),
      nodeFiles: [join(dir, "kube-apiserver")],
      async stop() {
        await processes.stopAll();
        await api.close();
      },
    };
  } catch (error) {
    await processes.stopAll();
    throw error;
  }
}

/** Puts the control where Kubernetes encrypts nothing: etcd and kube-apiserver then hold it. */
export async function plantControl(api: ApiServer, { copies }: Control): Promise<void> {
  const path = "/api/v1/namespaces/default/configmaps";
  const body = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "control" },
    data: Object.fromEntries(Object.entries(copies).map(([form, text]) => [form.replaceAll(" ", "-"), text])),
  };
  const { status } = await api.call("POST", path, body);
  if (status !== 201) throw new Error(`kube-apiserver answered ${status} to the control's ConfigMap`);
}

/** @throws Error when what is read is not what was written */
export async function writeSecret(api: ApiServer, name: string, value: Buffer): Promise<void> {
  await api.createSecret(name, value);
  if (!(await api.readSecret(name)).equals(value)) throw new Error(`the Secret ${name} is not what was written`);
}

/** Takes what a client of etcd can read: a snapshot of all keys, removed after `use`. */
export async function withSnapshot<T>(etcd: Etcd, dir: string, use: (file: string) => T | Promise<T>): Promise<T> {
  const client = etcdClient(new URL(etcd.url).host);
  const file = join(dir, "snapshot.db");
  try {
    await client.saveSnapshot(file);
    return await use(file);
  } finally {
    client.close();
    rmSync(file, { force: true });
  }
}

/** What a row looks for, and what its key is called where it has one of its own. */
export type Stake = {
  readonly secrets: readonly Sought[];
  readonly keys: readonly Sought[];
  readonly control: Control;
};

/** Searches a place for all that is at stake. */
export function findingsIn(place: Place, { secrets, keys, control }: Stake): readonly Finding[] {
  const evidence = searchFor(place, [...secrets, ...keys], control);
  return [
    ...giving("the Secret", evidence.slice(0, secrets.length)),
    ...giving("the key", evidence.slice(secrets.length)),
  ];
}

/** What a control plane that runs shows in its memory and to a client of etcd. */
export async function lookAtRunning({ api, etcd }: ControlPlane, dir: string, stake: Stake) {
  return {
    ram: tested(findingsIn(memoryOf("memory of etcd", etcd.proc.pid), stake)),
    etcd: await withSnapshot(etcd, dir, (file) =>
      tested(findingsIn(filesWithControl("a snapshot of all keys, as etcd gives it to a client,", [file]), stake)),
    ),
    apiServer: tested(findingsIn(memoryOf("memory of kube-apiserver", api.proc().pid), stake)),
  };
}

/** @param scratch a folder that may be written to */
export function lookAtDisk(plane: ControlPlane, scratch: string, stake: Stake): Cell {
  const node: Place = filesOf("the node's other files", plane.nodeFiles, stake.control, scratch);
  return tested(findingsIn(filesWithControl("etcd's files", [plane.etcdFiles]), stake), findingsIn(node, stake));
}
