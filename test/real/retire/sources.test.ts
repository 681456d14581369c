// Reading an etcd as Kubernetes' own are: gRPC alone, client certificates, and its snapshots, with
// each way in which it cannot be read. (docs/architecture.md #rotation.)
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { createCa, issueGateway, issueNode } from "@claviger/gateway-core/src/pki/authority.ts";
import { writeCa, writePem } from "@claviger/gateway-core/src/pki/files.ts";
import { type Entry, readEtcd } from "@claviger/cli/src/usage/etcd.ts";
import { readSnapshot } from "@claviger/cli/src/usage/snapshot.ts";
import { type EtcdClient, etcdClient } from "../../lab/etcd-client.ts";
import { freePorts, type ProcessGroup, createProcessGroup, until } from "../../lab/process-group.ts";
import { findBinary } from "../../parts/find.ts";

const prefix = "/registry/";

async function all(entries: AsyncIterable<Entry>): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for await (const { key, value } of entries) {
    assert.ok(!found.has(key), `${key} comes twice`);
    found.set(key, value.toString());
  }
  return found;
}

suite("an etcd that speaks gRPC and wants client certificates", () => {
  let dir: string;
  let processes: ProcessGroup;
  let client: EtcdClient;
  let url: URL;
  let plainUrl: URL;
  let tls: { ca: Buffer; cert: Buffer; key: Buffer };
  const wanted = new Map<string, string>();

  const read = (endpoint: URL, how: Partial<typeof tls> = tls): Promise<ReadonlyMap<string, string>> =>
    all(readEtcd({ endpoint, prefix, tls: how, onProgress: () => {} }));
  const snapshot = (path: string): Promise<ReadonlyMap<string, string>> =>
    all(readSnapshot({ path, prefix, onProgress: () => {} }));
  const fails = (what: Promise<unknown>, reason: RegExp): Promise<void> =>
    assert.rejects(what, (error: Error) => {
      assert.equal(error.name, "CliError");
      assert.match(error.message, reason);
      return true;
    });

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    const ca = await createCa({ trustDomain: "fleet.example", validity: 1 });
    await writeCa(dir, ca);
    const server = await issueGateway({ ca, dnsNames: ["localhost"], ips: ["127.0.0.1"], validity: 1 });
    const files = await writePem({ dir, name: "server", pair: server });
    const shown = await writePem({
      dir,
      name: "client",
      pair: await issueNode({ ca, cluster: "prod", node: "cp-1", validity: 1 }),
    });
    tls = {
      ca: await readFile(join(dir, "ca.crt")),
      cert: await readFile(shown.cert),
      key: await readFile(shown.key),
    };
    const [port = 0, plainPort = 0, peerPort = 0] = await freePorts(3);
    url = new URL(`https://127.0.0.1:${port}`);
    plainUrl = new URL(`http://127.0.0.1:${plainPort}`);
    processes = createProcessGroup(dir);
    const proc = processes.start("etcd", [
      findBinary("etcd"),
      `--data-dir=${join(dir, "etcd")}`,
      `--listen-client-urls=${url.origin},${plainUrl.origin}`,
      `--advertise-client-urls=${url.origin}`,
      `--listen-peer-urls=http://127.0.0.1:${peerPort}`,
      `--initial-advertise-peer-urls=http://127.0.0.1:${peerPort}`,
      `--initial-cluster=default=http://127.0.0.1:${peerPort}`,
      `--cert-file=${files.cert}`,
      `--key-file=${files.key}`,
      `--trusted-ca-file=${join(dir, "ca.crt")}`,
      "--client-cert-auth",
      "--enable-grpc-gateway=false",
      "--unsafe-no-fsync",
      "--log-level=error",
    ]);
    client = etcdClient(url.host, tls);
    await until("etcd to take a write", proc, () =>
      client.put("/elsewhere/x", Buffer.from("not to be counted")).then(
        () => true,
        () => undefined,
      ),
    );
    // More than a page; every key has an earlier revision, some are deleted, some come back.
    for (const round of ["first", "second"])
      await Promise.all(
        Array.from({ length: 450 }, (_, i) =>
          client.put(`${prefix}secrets/default/s${String(i).padStart(4, "0")}`, Buffer.from(`${round} of ${i}`)),
        ),
      );
    for (let i = 0; i < 450; i++)
      wanted.set(`${prefix}secrets/default/s${String(i).padStart(4, "0")}`, `second of ${i}`);
    for (const name of ["s0003", "s0004", "s0449"]) {
      await client.delete(`${prefix}secrets/default/${name}`);
      wanted.delete(`${prefix}secrets/default/${name}`);
    }
    await client.put(`${prefix}secrets/default/s0004`, Buffer.from("made anew"));
    wanted.set(`${prefix}secrets/default/s0004`, "made anew");
    // Larger than a page of bbolt, and than what a gRPC client takes by itself.
    const large = "x".repeat(1_400_000);
    for (const name of ["a", "b", "c", "d"]) {
      await client.put(`${prefix}configmaps/default/${name}`, Buffer.from(large));
      wanted.set(`${prefix}configmaps/default/${name}`, large);
    }
  });
  after(async () => {
    client.close();
    await processes.stopAll();
    await rm(dir, { recursive: true, force: true });
  });

  const isWanted = (found: ReadonlyMap<string, string>): void =>
    assert.deepEqual(Object.fromEntries(found), Object.fromEntries(wanted));

  test("is read whole, page after page, by its address and by its name", async () => {
    isWanted(await read(url));
    isWanted(await read(new URL(`https://localhost:${url.port}`)));
    isWanted(await read(plainUrl, {}));
  });

  test("is read as of one revision, whatever is written meanwhile", async () => {
    const found = new Map<string, string>();
    for await (const { key, value } of readEtcd({ endpoint: url, prefix, tls, onProgress: () => {} })) {
      if (found.size === 0)
        for (const name of ["s0448", "s9999"])
          await client.put(`${prefix}secrets/default/${name}`, Buffer.from("too late"));
      found.set(key, value.toString());
    }
    isWanted(found);
    await client.put(`${prefix}secrets/default/s0448`, Buffer.from("second of 448"));
    await client.delete(`${prefix}secrets/default/s9999`);
  });

  test("a snapshot has the same, without what was deleted and without earlier revisions", async () => {
    const file = join(dir, "snapshot.db");
    await client.saveSnapshot(file);
    isWanted(await snapshot(file));
    isWanted(await read(url));
  });

  test("a snapshot that is cut off, changed, packed, or none is refused", async () => {
    const file = join(dir, "whole.db");
    await client.saveSnapshot(file);
    const bytes = await readFile(file);
    const write = async (name: string, content: Uint8Array): Promise<string> => {
      await writeFile(join(dir, name), content);
      return join(dir, name);
    };
    const changed = Buffer.from(bytes);
    changed[Math.floor(bytes.length / 2)] = (changed[Math.floor(bytes.length / 2)] ?? 0) ^ 1;
    await fails(snapshot(await write("changed.db", changed)), /changed\.db cannot be read: its checksum is not right/);
    await truncate(file, bytes.length - 4096);
    await fails(snapshot(file), /whole\.db cannot be read: its checksum is not right/);
    await fails(snapshot(await write("copy.db", bytes.subarray(0, -32))), /it does not end in a checksum/);
    await fails(snapshot(await write("empty.db", Buffer.alloc(0))), /it does not end in a checksum/);
    await fails(snapshot(await write("a.zip", Buffer.from("PK\u0003\u0004rest"))), /it is a zip archive: unpack it/);
    await fails(snapshot(await write("a.gz", Buffer.of(0x1f, 0x8b, 8))), /it is compressed: unpack it/);
    await fails(snapshot(await write("state.db", Buffer.from("SQLite format 3\0"))), /a database of kine/);
    await fails(snapshot(join(dir, "nowhere.db")), /nowhere\.db cannot be read \(ENOENT: there is no such file/);
    await fails(snapshot(dir), /cannot be read \(EISDIR: it is a directory; name a file\)/);
  });

  test("a snapshot with a right checksum and damaged pages is refused in words, or read as it was: never half", async () => {
    const file = join(dir, "fuzzed.db");
    await client.saveSnapshot(file);
    const whole = await readFile(file);
    const body = whole.subarray(0, -32);
    const count = (await snapshot(file)).size;
    const [page, refused] = [4096, new Set<string>()];
    // In the headers of the first pages: ids, kinds, counts, overflows, places, sizes.
    const places = [0, 8, 9, 10, 12, 16, 20, 24, 28, 32].flatMap((offset) =>
      [0, 1, 2, 3, 4, 5].map((id) => id * page + offset),
    );
    for (const at of places) {
      const bytes = Buffer.from(body);
      bytes[at] = (bytes[at] ?? 0) ^ 0x85;
      await writeFile(file, Buffer.concat([bytes, createHash("sha256").update(bytes).digest()]));
      try {
        assert.equal((await snapshot(file)).size, count, `byte ${at}`);
      } catch (error) {
        assert.ok(error instanceof Error && error.name === "CliError", `byte ${at}: ${String(error)}`);
        refused.add(error.message);
      }
    }
    assert.ok(refused.size > 3, [...refused].join("\n"));
  });

  test("without a certificate, with another's, without the CA or with the wrong scheme it is said what to give", async () => {
    const stranger = await createCa({ trustDomain: "else.example", validity: 1 });
    const pair = await issueNode({ ca: stranger, cluster: "prod", node: "cp-1", validity: 1 });
    const strangers = { cert: Buffer.from(pair.cert), key: Buffer.from(pair.key.use((pem) => pem)) };
    await fails(
      read(url, { ca: tls.ca }),
      /etcd at https:\/\/127\.0\.0\.1:\d+ cannot be read: .*--etcd-cert and --etcd-key/,
    );
    await fails(read(url, { ca: tls.ca, ...strangers }), /it refuses the client certificate/);
    await fails(
      read(url, { ca: Buffer.from(stranger.cert), cert: tls.cert, key: tls.key }),
      /not of a CA that is trusted.*--etcd-ca/,
    );
    await fails(
      read(new URL(plainUrl.origin.replace("http:", "https:"))),
      /no TLS connection comes about; does it speak http:\/\/ there\?/,
    );
    await fails(read(new URL(url.origin.replace("https:", "http:")), {}), /does it speak TLS there \(https:\/\/\)/);
  });

  test("a port where nothing listens, where something else does, and a name that there is not", async () => {
    const [closed = 0] = await freePorts(1);
    await fails(read(new URL(`http://127.0.0.1:${closed}`), {}), /ECONNREFUSED/);
    await fails(
      read(new URL("http://nowhere.invalid:2379"), {}),
      /nowhere\.invalid:2379 cannot be read: there is no host of the name/,
    );
    const other = createServer((socket) => socket.end("SSH-2.0-OpenSSH_9.2\r\n"));
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    try {
      const { port } = other.address() as AddressInfo;
      await fails(
        read(new URL(`http://127.0.0.1:${port}`), {}),
        /does it speak TLS there \(https:\/\/\), or another protocol/,
      );
    } finally {
      other.close();
    }
  });
});
