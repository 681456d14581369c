// An etcd that has one call, Range, and answers as it is told.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type RangeRequest,
  RangeRequestSchema,
  type RangeResponse,
  RangeResponseSchema,
} from "@claviger/proto/gen/etcd/rpc_pb.ts";
import { type sendUnaryData, Server, ServerCredentials, type ServerUnaryCall, status } from "@grpc/grpc-js";

export type FakeEtcd = {
  readonly url: string;
  /** Stored as /registry/secrets/default/s0000 and so on. */
  values: readonly Buffer[];
  /** Instead of those: by their keys, in order. */
  entries: readonly (readonly [key: string, value: Buffer])[] | undefined;
  pages: number;
  revisions: Set<bigint>;
  /** 0: kine. */
  clusterId: bigint;
  /** A gRPC status and its text, instead of an answer. */
  refusal: readonly [code: keyof typeof status, text: string] | undefined;
  /** Says that there is more, and gives nothing. */
  isEndless: boolean;
  stop(): void;
};

function answer(etcd: FakeEtcd, { key, limit, revision }: RangeRequest): RangeResponse {
  etcd.pages += 1;
  etcd.revisions.add(revision);
  const all =
    etcd.entries ??
    etcd.values.map((value, i) => [`/registry/secrets/default/s${String(i).padStart(4, "0")}`, value] as const);
  const rest = all.filter(([name]) => Buffer.compare(Buffer.from(name), key) >= 0);
  const kvs = etcd.isEndless ? [] : rest.slice(0, Number(limit));
  return create(RangeResponseSchema, {
    header: { clusterId: etcd.clusterId, revision: 7n },
    kvs: kvs.map(([name, value]) => ({ key: Buffer.from(name), value })),
    more: etcd.isEndless || kvs.length < rest.length,
    count: BigInt(rest.length),
  });
}

export async function startFakeEtcd(): Promise<FakeEtcd> {
  const server = new Server();
  const etcd: FakeEtcd = {
    url: "",
    values: [],
    entries: undefined,
    pages: 0,
    revisions: new Set(),
    clusterId: 3n,
    refusal: undefined,
    isEndless: false,
    stop: () => server.forceShutdown(),
  };
  const range = {
    path: "/etcdserverpb.KV/Range",
    requestStream: false,
    responseStream: false,
    requestSerialize: (request: RangeRequest) => Buffer.from(toBinary(RangeRequestSchema, request)),
    requestDeserialize: (bytes: Buffer) => fromBinary(RangeRequestSchema, bytes),
    responseSerialize: (reply: RangeResponse) => Buffer.from(toBinary(RangeResponseSchema, reply)),
    responseDeserialize: (bytes: Buffer) => fromBinary(RangeResponseSchema, bytes),
  } as const;
  server.addService(
    { range },
    {
      range(call: ServerUnaryCall<RangeRequest, RangeResponse>, reply: sendUnaryData<RangeResponse>) {
        if (etcd.refusal === undefined) reply(null, answer(etcd, call.request));
        else reply({ code: status[etcd.refusal[0]], details: etcd.refusal[1] });
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
  return Object.assign(etcd, { url: `http://127.0.0.1:${port}` });
}
