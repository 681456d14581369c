// Which etcds and snapshots a command counts, from its options: each for one cluster, with the TLS
// files that are nearest to it.
import { readFileSync } from "node:fs";
import { problemOfBundle, problemOfPair } from "@claviger/proto/runtime/certificates.ts";
import { clusterName } from "@claviger/proto/wire/names.ts";
import { CliError, type Command, several } from "../commander.ts";
import type { FleetOptions } from "../target.ts";
import type { Fleet } from "../fleet.ts";
import type { GrpcTls } from "../grpc.ts";
import { fileProblem } from "@claviger/proto/runtime/file-problem.ts";
import { defaultPrefixes } from "./count.ts";
import { type Entry, readEtcd } from "./etcd.ts";
import type { Progress } from "./progress.ts";
import { readSnapshot } from "./snapshot.ts";

export type SourceOptions = FleetOptions & {
  readonly etcd?: readonly string[];
  readonly etcdSnapshot?: readonly string[];
  readonly prefix?: readonly string[];
  readonly etcdCa?: readonly string[];
  readonly etcdCert?: readonly string[];
  readonly etcdKey?: readonly string[];
};

/** One etcd of a cluster: a member that answers, or what it once was. */
export type EtcdSource =
  | { readonly kind: "endpoint"; readonly endpoint: URL; readonly tls: GrpcTls }
  | { readonly kind: "snapshot"; readonly path: string };

/** Adds the options that say what to count. */
export function sourceOptions(command: Command): Command {
  return command
    .option(
      "--etcd <[cluster=]url>",
      "client address of one member of each etcd that holds the cluster's objects; several times",
      several,
    )
    .option(
      "--etcd-snapshot <[cluster=]file>",
      "a snapshot of such an etcd instead, as etcdctl snapshot save makes it; several times",
      several,
    )
    .option(
      "--prefix <path>",
      "keys to look at, for an apiserver with another --etcd-prefix (default: /registry/); several times",
      several,
    )
    .option("--etcd-ca <[cluster=|host:port=]file>", "CA of the etcds' certificates; several times", several)
    .option("--etcd-cert <[cluster=|host:port=]file>", "client certificate for the etcds; several times", several)
    .option("--etcd-key <[cluster=|host:port=]file>", "its key; several times", several);
}

/** `[CLUSTER=]VALUE`, several times → the values of each cluster. */
export function byCluster(given: readonly string[], own: string): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, readonly string[]>();
  for (const one of given) {
    const [, cluster = own, value = ""] = /^(?:([a-z0-9.-]+)=)?(.*)$/.exec(one) ?? [];
    found.set(cluster, [...(found.get(cluster) ?? []), value]);
  }
  return found;
}

type Read = { readonly file: string; readonly bytes: Buffer };

/** The file that is nearest to an endpoint: its own, its cluster's, or everybody's. */
function nearestFile(option: string, given: readonly string[] = [], { host }: URL, cluster: string): Read | undefined {
  const files = new Map(
    given.map((one) => {
      const [, owner = "", file = ""] = /^(?:([a-z0-9.-]+(?::\d+)?|\[[0-9a-f:]+\]:\d+)=)?(.*)$/.exec(one) ?? [];
      return [owner, file];
    }),
  );
  const file = files.get(host) ?? files.get(cluster) ?? files.get("");
  if (file === undefined) return undefined;
  try {
    return { file, bytes: readFileSync(file) };
  } catch (error) {
    throw new CliError(`${option}: ${file} cannot be read (${fileProblem(error)})`);
  }
}

function tlsOf(options: SourceOptions, endpoint: URL, cluster: string): GrpcTls {
  if (endpoint.protocol === "http:") return {};
  const ca = nearestFile("--etcd-ca", options.etcdCa, endpoint, cluster);
  const cert = nearestFile("--etcd-cert", options.etcdCert, endpoint, cluster);
  const key = nearestFile("--etcd-key", options.etcdKey, endpoint, cluster);
  if ((cert === undefined) !== (key === undefined))
    throw new CliError(`--etcd-cert and --etcd-key go together: ${endpoint.origin} has only one of them`);
  const bundle = ca === undefined ? undefined : problemOfBundle(ca.bytes.toString());
  if (ca !== undefined && bundle !== undefined) throw new CliError(`--etcd-ca: ${ca.file} ${bundle}`);
  if (cert !== undefined && key !== undefined) {
    const pair = problemOfPair("client", cert.bytes.toString(), key.bytes.toString());
    if (pair !== undefined)
      throw new CliError(`--etcd-${pair.file}: ${pair.file === "cert" ? cert.file : key.file} ${pair.text}`);
  }
  return {
    ...(ca !== undefined && { ca: ca.bytes }),
    ...(cert !== undefined && { cert: cert.bytes }),
    ...(key !== undefined && { key: key.bytes }),
  };
}

function parseEndpoint(url: string): URL {
  if (!/^https?:\/\/./.test(url) || !URL.canParse(url))
    throw new CliError(`--etcd ${url} is not the URL of an etcd, e.g. https://10.0.0.1:2379`);
  return new URL(url);
}

/**
 * The etcds that a context names, for clusters of which the options name neither an etcd nor a
 * snapshot; files that the options name go first.
 * @param clusters those that may be counted
 */
export function withContextEtcds(
  options: SourceOptions,
  etcds: Fleet["etcd"],
  clusters: readonly string[],
  own: string,
): SourceOptions {
  const given = new Set([
    ...byCluster(options.etcd ?? [], own).keys(),
    ...byCluster(options.etcdSnapshot ?? [], own).keys(),
  ]);
  const found = clusters.flatMap((name) => {
    const etcd = Object.hasOwn(etcds, name) && !given.has(name) ? etcds[clusterName.parse(name)] : undefined;
    return etcd === undefined ? [] : [{ name, etcd }];
  });
  const files = (of: "ca" | "cert" | "key", said: readonly string[] = []): readonly string[] => [
    ...found.flatMap(({ name, etcd }) => (etcd[of] === undefined ? [] : [`${name}=${etcd[of]}`])),
    ...said,
  ];
  if (found.length === 0) return options;
  return {
    ...options,
    etcd: [
      ...(options.etcd ?? []),
      ...found.flatMap(({ name, etcd }) => etcd.endpoints.map((one) => `${name}=${one}`)),
    ],
    etcdCa: files("ca", options.etcdCa),
    etcdCert: files("cert", options.etcdCert),
    etcdKey: files("key", options.etcdKey),
  };
}

/** What is to be counted for each cluster. @param own the cluster of what names none @throws CliError */
export function parseSources(options: SourceOptions, own: string): ReadonlyMap<string, readonly EtcdSource[]> {
  const { etcd = [], etcdSnapshot = [] } = options;
  if (etcd.length + etcdSnapshot.length === 0)
    throw new CliError(
      "say what is to be counted: --etcd URL (a member of the cluster's etcd), or --etcd-snapshot FILE",
    );
  for (const prefix of options.prefix ?? [])
    if (!/^\/[\x21-\x7e]*$/.test(prefix))
      throw new CliError(`--prefix ${prefix} is not a path that keys of an etcd begin with, e.g. /registry/secrets/`);
  const found = new Map<string, readonly EtcdSource[]>();
  const add = (cluster: string, source: EtcdSource): void =>
    void found.set(cluster, [...(found.get(cluster) ?? []), source]);
  for (const [cluster, urls] of byCluster(etcd, own))
    for (const url of urls) {
      const endpoint = parseEndpoint(url);
      add(cluster, { kind: "endpoint", endpoint, tls: tlsOf(options, endpoint, cluster) });
    }
  for (const [cluster, paths] of byCluster(etcdSnapshot, own))
    for (const path of paths) add(cluster, { kind: "snapshot", path });
  return found;
}

/** Every entry of some sources, under each prefix of the options. @throws CliError */
export async function* entriesOf(
  sources: readonly EtcdSource[],
  { prefix = defaultPrefixes }: SourceOptions,
  onProgress: Progress,
): AsyncGenerator<Entry> {
  for (const source of sources)
    for (const one of prefix)
      yield* source.kind === "endpoint"
        ? readEtcd({ ...source, prefix: one, onProgress })
        : readSnapshot({ ...source, prefix: one, onProgress });
}
