// `key usage` and `key retire` as an operator calls them, on an embedded backend and an etcd that
// only has the one call.
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { runCli } from "@claviger/cli/src/run.ts";
import { isSameKey } from "@claviger/cli/src/usage/key-identity.ts";
import { encodeEnvelope } from "@claviger/gateway-core/src/key/envelope.ts";
import { deriveKeyId, keyPath } from "@claviger/gateway-core/src/key/key-id.ts";
import type { BackendConfig } from "@claviger/gateway-core/src/backend/config.ts";
import type { KeyRef } from "@claviger/gateway-core/src/backend/port.ts";
import { backendName, type ClusterUid, clusterUid, keyName, mountPath } from "@claviger/proto/wire/names.ts";
import { encodeStored } from "../../../demo/stored.ts";
import { ref } from "../fakes.ts";

const prod = clusterUid.parse("01JD9Z6X3QK8V5T7W2M4N6P8RA");
const other = clusterUid.parse("01JD9Z6X3QK8V5T7W2M4N6P8RB");
const alias: KeyRef = { ...ref, backend: backendName.parse("second") };

function object(uid: ClusterUid, key: KeyRef, version: number): Buffer {
  const keyId = deriveKeyId(uid, [{ ref: key, version, createdAt: version }]);
  const wraps = [{ backend: key.backend, key: keyPath(key), version, ciphertext: Buffer.alloc(60, 1) }];
  const encryptedDekSource = encodeEnvelope({ clusterUid: uid, keyId, wraps });
  return Buffer.from(
    encodeStored({ provider: "kms", encryptedData: Buffer.alloc(80), keyId, encryptedDekSource, annotations: {} }),
  );
}

type Etcd = {
  readonly url: string;
  readonly server: Server;
  values: readonly Buffer[];
  pages: number;
  revisions: Set<string>;
};

/** `range` of one prefix: in order, at most `limit`, at the revision that was asked for. */
async function startEtcd(): Promise<Etcd> {
  const server = createServer((asked, reply) => {
    void asked.toArray().then((parts) => {
      const {
        key,
        limit,
        revision = "first",
      } = JSON.parse(Buffer.concat(parts as Buffer[]).toString()) as Record<string, string>;
      etcd.pages += 1;
      etcd.revisions.add(revision);
      const from = Buffer.from(key ?? "", "base64").toString();
      const all = etcd.values.map((value, i) => ({
        key: `/registry/secrets/default/s${String(i).padStart(4, "0")}`,
        value,
      }));
      const rest = all.filter((entry) => entry.key >= from);
      const kvs = rest.slice(0, Number(limit));
      reply.end(
        JSON.stringify({
          header: { revision: "7" },
          kvs: kvs.map((entry) => ({
            key: Buffer.from(entry.key).toString("base64"),
            value: entry.value.toString("base64"),
          })),
          more: kvs.length < rest.length,
        }),
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const etcd: Etcd = { url: `http://127.0.0.1:${port}`, server, values: [], pages: 0, revisions: new Set() };
  return etcd;
}

let dir: string;
let config: string;
let etcds: readonly [Etcd, Etcd];

async function run(
  ...args: readonly string[]
): Promise<{ readonly status: number; readonly out: string; readonly err: string }> {
  const [out, err]: [string[], string[]] = [[], []];
  const terminal = { out: (line: string) => out.push(line), err: (line: string) => err.push(line), env: {}, home: dir };
  const status = await runCli(["key", ...args, "--config", config], terminal);
  return { status, out: out.join("\n"), err: err.join("\n") };
}

before(async () => {
  etcds = [await startEtcd(), await startEtcd()];
});
after(() => etcds.forEach(({ server }) => void server.close()));
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "claviger-cli-"));
  config = join(dir, "gateway.yaml");
  const embedded = `{ kind: embedded, file: ${join(dir, "keys.json")} }`;
  await writeFile(
    config,
    `listen: { port: 0 }
admin: { port: 0 }
tls: { cert: c, key: k, clientCa: a }
trustDomain: fleet.example
registry: { kind: file, file: ${join(dir, "clusters.yaml")} }
backends: { main: ${embedded}, second: ${embedded} }
audit: { sinks: [{ kind: stdout }] }
`,
  );
  // One key, which two backends' names lead to.
  await writeFile(
    join(dir, "clusters.yaml"),
    `clusters:
  - { name: prod, uid: ${prod}, state: active, keys: [{ backend: main, mount: transit, key: prod }] }
  - { name: other, uid: ${other}, state: active, keys: [{ backend: second, mount: transit, key: prod }] }
`,
  );
  for (const etcd of etcds) Object.assign(etcd, { values: [], pages: 0, revisions: new Set() });
});

afterEach(() => rm(dir, { recursive: true, force: true }));

async function minDecryption(): Promise<number> {
  return (JSON.parse((await run("status", "prod", "--json")).out) as { minDecryption: number }).minDecryption;
}

test("usage refuses another cluster's etcd instead of counting none", async () => {
  const { status, out, err } = await run("usage", "prod", "--etcd", `prdo=${etcds[0].url}`);
  assert.deepEqual([status, out], [1, ""]);
  assert.match(err, /prdo/);
  assert.equal(etcds[0].pages, 0);
});

test("usage reads page after page, all at the revision of the first", async () => {
  etcds[0].values = Array.from({ length: 1234 }, (_, i) => object(prod, ref, i % 2 === 0 ? 1 : 2));
  const { status, out, err } = await run("usage", "prod", "--etcd", etcds[0].url, "--json");
  assert.equal(status, 0, err);
  const { uses } = JSON.parse(out) as { uses: { version: number; count: number }[] };
  assert.deepEqual(
    uses.map(({ version, count }) => [version, count]),
    [
      [1, 617],
      [2, 617],
    ],
  );
  assert.ok(etcds[0].pages > 2);
  assert.deepEqual([...etcds[0].revisions], ["first", "7"]);
});

test("a key that another cluster has under another backend's name is shared all the same", async () => {
  for (const step of ["promote", "rotate", "promote"]) assert.equal((await run(step, "prod")).status, 0, step);
  etcds[0].values = [object(prod, ref, 2)];
  etcds[1].values = [object(other, alias, 2), object(other, alias, 1)];
  const retire = (...args: readonly string[]) =>
    run("retire", "prod", "--nodes-checked", "--yes", "--etcd", etcds[0].url, ...args);

  const uncounted = await retire();
  assert.equal(uncounted.status, 1, uncounted.out);
  assert.match(uncounted.err, /cluster other uses this key too/);
  const needed = await retire("--etcd", `other=${etcds[1].url}`);
  assert.equal(needed.status, 1, needed.out);
  assert.match(needed.err, /1 object of cluster other still need version 1/);
  assert.equal(await minDecryption(), 1);

  etcds[1].values = [object(other, alias, 2)];
  const done = await retire("--etcd", `other=${etcds[1].url}`);
  assert.equal(done.status, 0, done.err);
  assert.equal(await minDecryption(), 2);
});

test("a key is the same whether its namespace stands in the record or in the backend's configuration, and by whichever address", () => {
  const vault = (namespace: string | undefined, ...addresses: string[]): BackendConfig => ({
    kind: "vault",
    addresses,
    auth: { kind: "token-file", file: "t" },
    ...(namespace !== undefined && { namespace: mountPath.parse(namespace) }),
  });
  const backends = {
    main: vault("team", "https://a:8200", "https://b:8200"),
    second: vault(undefined, "https://b:8200"),
    third: vault(undefined, "https://c:8200"),
  };
  const at = (backend: string, namespace?: string): KeyRef => ({
    ...ref,
    backend: backendName.parse(backend),
    ...(namespace !== undefined && { namespace: mountPath.parse(namespace) }),
  });
  assert.ok(isSameKey(at("main"), at("main", "team"), backends));
  assert.ok(isSameKey(at("main"), at("second", "team"), backends));
  for (const another of [at("second"), at("main", "else"), at("third", "team"), { ...ref, key: keyName.parse("else") }])
    assert.ok(!isSameKey(at("main"), another, backends));
});
