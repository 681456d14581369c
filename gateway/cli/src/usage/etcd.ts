// Reads through an etcd from end to end, over gRPC as kube-apiserver does, all as of one revision.
// Changes nothing.
import { type RangeResponse, RangeRequestSchema, RangeResponseSchema } from "@claviger/proto/gen/etcd/rpc_pb.ts";
import { CliError } from "../commander.ts";
import { type GrpcChannel, GrpcError, type GrpcTls, openGrpc } from "../grpc.ts";
import type { Progress } from "./progress.ts";

export type Entry = { readonly key: string; readonly value: Buffer };

export type EtcdOptions = {
  /** http://HOST:PORT or https://HOST:PORT */
  readonly endpoint: URL;
  /** Not empty, ASCII. */
  readonly prefix: string;
  /** For an https endpoint. */
  readonly tls: GrpcTls;
  readonly onProgress: Progress;
};

/** Values of 1.5 MiB, the most that etcd takes by default: a page of them fits into memory. */
const pageSize = 100;
const callMs = 30_000;
const defaultPorts: Readonly<Record<string, number>> = { "http:": 80, "https:": 443 };
const range = "/etcdserverpb.KV/Range";

const askForCertificate =
  "etcd of Kubernetes wants a client certificate: --etcd-ca, --etcd-cert and --etcd-key (docs/bootstrap.md says where they are)";

/** What is wrong with a connection, from the words of OpenSSL and of the system. */
function connectionAdvice(text: string, { endpoint, tls }: EtcdOptions): string {
  if (/ECONNREFUSED|ENOTFOUND|EHOSTUNREACH|ETIMEDOUT/.test(text)) return text;
  if (/wrong version number|packet length too long|before secure TLS/i.test(text))
    return "no TLS connection comes about; does it speak http:// there?";
  if (/self.signed|unable to (?:verify|get)|issuer/i.test(text))
    return `its certificate is not of a CA that is trusted (${text}); give its CA: --etcd-ca`;
  if (/altnames/i.test(text)) return `its certificate is for other names (${text}); use one of them in the URL`;
  if (/certificate has expired|not yet valid/i.test(text)) return text;
  if (/certificate|alert|bad record/i.test(text) || (endpoint.protocol === "https:" && tls.cert === undefined))
    return tls.cert === undefined ? `${text}; ${askForCertificate}` : `it refuses the client certificate (${text})`;
  if (/ECONNRESET|Protocol error|Failed to connect|closed|other side/i.test(text) && endpoint.protocol === "http:")
    return `${text}; does it speak TLS there (https://), or another protocol?`;
  return text;
}

/** The words of grpc-js, OpenSSL and the system without what is around them. */
function plainText(text: string): string {
  return text
    .replace(/^No connection established\. Last error: /, "")
    .replaceAll("Error: ", "")
    .replace(/[\da-f]+:error:[\da-f]+:[^:]*:[^:]*:([^:]+):.*/is, "$1")
    .replace(/\s*\(\d{4}-\d\d-\d\dT.*/s, "")
    .replace(/\s*Resolution note:.*/s, "")
    .replace(/^Name resolution failed for target dns:(.*)$/, "there is no host of the name $1")
    .trim();
}

function reasonOf({ code, text }: GrpcError, options: EtcdOptions): string {
  const plain = plainText(text);
  switch (code) {
    case "UNAVAILABLE":
      return connectionAdvice(plain, options);
    case "DEADLINE_EXCEEDED":
      return `no answer in ${callMs / 1000} s`;
    case "UNAUTHENTICATED":
    case "PERMISSION_DENIED":
    case "INVALID_ARGUMENT":
      return `it refuses (${plain}); give --etcd-cert and --etcd-key of a user who may read`;
    case "OUT_OF_RANGE":
      return "it was compacted while it was read; run this again, or count a snapshot: --etcd-snapshot";
    case "UNIMPLEMENTED":
      return "it has no etcd v3 API; is it the client port?";
    default:
      return `${code}: ${plain}`;
  }
}

/** The end of the range of all keys that begin with `prefix`. */
function endOfPrefix(prefix: string): Buffer {
  const end = Buffer.from(prefix);
  end[end.length - 1] = (end.at(-1) ?? 0) + 1;
  return end;
}

/** A client of one endpoint. Its TLS files are read and held against each other before (sources.ts). */
function connect({ endpoint, tls }: EtcdOptions): GrpcChannel {
  return openGrpc({
    kind: "host",
    hostname: endpoint.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: endpoint.port === "" ? (defaultPorts[endpoint.protocol] ?? 0) : Number(endpoint.port),
    ...(endpoint.protocol === "https:" && { tls }),
  });
}

/**
 * Every entry under a prefix, as of one revision.
 * @throws CliError when it cannot be read to the end
 */
export async function* readEtcd(options: EtcdOptions): AsyncGenerator<Entry> {
  const { endpoint, prefix, onProgress } = options;
  const fail = (why: string): CliError => new CliError(`etcd at ${endpoint.origin} cannot be read: ${why}`);
  const channel = connect(options);
  const page = async (key: Uint8Array, revision: bigint): Promise<RangeResponse> => {
    try {
      const request = { key, rangeEnd: endOfPrefix(prefix), limit: BigInt(pageSize), revision };
      return await channel.call(range, RangeRequestSchema, RangeResponseSchema, request, callMs);
    } catch (error) {
      throw fail(error instanceof GrpcError ? reasonOf(error, options) : "unexpected error");
    }
  };
  try {
    let from: Uint8Array = Buffer.from(prefix);
    let revision = 0n;
    let read = 0;
    for (;;) {
      const { header, kvs, more, count } = await page(from, revision);
      if (header === undefined) throw fail("its answer is not one of etcd's v3 API");
      // Real members of a cluster always say which; kine has none.
      if (header.clusterId === 0n)
        throw fail(
          "it is kine (k3s on SQLite or another database), whose history cannot be counted; leave earlier versions in use, or move the cluster to embedded etcd (k3s server --cluster-init) and count that",
        );
      if (revision === 0n) revision = header.revision;
      const total = read + Number(count);
      for (const { key, value } of kvs) {
        yield {
          key: Buffer.from(key).toString(),
          value: Buffer.from(value.buffer, value.byteOffset, value.byteLength),
        };
        onProgress(`etcd at ${endpoint.origin}`, ++read, total);
      }
      const last = kvs.at(-1);
      if (!more) return;
      if (last === undefined) throw fail("it says that there is more, and gives nothing");
      from = Buffer.concat([last.key, Buffer.of(0)]);
    }
  } finally {
    channel.close();
  }
}
