// What tests do to an etcd over gRPC: put, delete, compact and take a snapshot, as etcdctl does. Field
// numbers of etcd's v3 API.
import { writeFile } from "node:fs/promises";
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { Client, credentials } from "@grpc/grpc-js";

export type EtcdClient = {
  put(key: string, value: Uint8Array): Promise<void>;
  delete(key: string): Promise<void>;
  /** Writes what `etcdctl snapshot save` writes. */
  saveSnapshot(file: string): Promise<void>;
  close(): void;
};

export type EtcdTlsFiles = { readonly ca: Buffer; readonly cert: Buffer; readonly key: Buffer };

function fields(...list: readonly Uint8Array[]): Buffer {
  const writer = new BinaryWriter();
  for (const [i, bytes] of list.entries()) writer.tag(i + 1, WireType.LengthDelimited).bytes(bytes);
  return Buffer.from(writer.finish());
}

/** SnapshotResponse.blob */
function blobOf(message: Buffer): Uint8Array {
  const reader = new BinaryReader(message);
  let blob: Uint8Array = new Uint8Array();
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 3) blob = reader.bytes();
    else reader.skip(wireType);
  }
  return blob;
}

const identity = (bytes: Buffer): Buffer => bytes;

/** @param host `127.0.0.1:PORT` */
export function etcdClient(host: string, tls?: EtcdTlsFiles): EtcdClient {
  const how = tls === undefined ? credentials.createInsecure() : credentials.createSsl(tls.ca, tls.key, tls.cert);
  const client = new Client(host, how, { "grpc.ssl_target_name_override": "localhost" });
  const call = (method: string, request: Buffer): Promise<void> =>
    new Promise((resolve, reject) => {
      client.makeUnaryRequest(`/etcdserverpb.KV/${method}`, identity, identity, request, (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
  return {
    put: (key, value) => call("Put", fields(Buffer.from(key), value)),
    delete: (key) => call("DeleteRange", fields(Buffer.from(key))),
    async saveSnapshot(file) {
      const stream = client.makeServerStreamRequest(
        "/etcdserverpb.Maintenance/Snapshot",
        identity,
        identity,
        Buffer.alloc(0),
      );
      const parts: Uint8Array[] = [];
      for await (const message of stream) parts.push(blobOf(message as Buffer));
      await writeFile(file, Buffer.concat(parts));
    },
    close: () => client.close(),
  };
}
