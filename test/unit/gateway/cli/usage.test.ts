// `key usage` as an operator calls it, with each way in which an etcd cannot be read.
import assert from "node:assert/strict";
import { createKeyJournal } from "@claviger/gateway-core/src/backend/key-journal.ts";
import { keyPath } from "@claviger/gateway-core/src/key/key-id.ts";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { createProgress } from "@claviger/cli/src/usage/progress.ts";
import { ref } from "../fakes.ts";
import { type FakeEtcd, startFakeEtcd } from "./fake-etcd.ts";
import { createKeyFleet, type KeyFleet, prod, storedValue } from "./key-fleet.ts";

let fleet: KeyFleet;
let etcd: FakeEtcd;

beforeEach(async () => {
  [fleet, etcd] = await Promise.all([createKeyFleet(), startFakeEtcd()]);
  assert.equal((await fleet.run("promote", "prod")).status, 0);
});
afterEach(async () => {
  etcd.stop();
  await fleet.remove();
});

type Json = {
  readonly uses: readonly { version: number; count: number; today: string; why?: string; cluster?: string }[];
  readonly plainSecrets: { readonly count: number };
};

async function usage(...args: readonly string[]): Promise<Json> {
  const { status, out, err } = await fleet.run("usage", "prod", "--etcd", etcd.url, "--json", ...args);
  assert.equal(status, 0, err);
  return JSON.parse(out) as Json;
}

async function refused(reason: RegExp, ...args: readonly string[]): Promise<void> {
  const { status, out, err } = await fleet.run("usage", "prod", ...args);
  assert.deepEqual([status, out], [1, ""]);
  assert.match(err, reason);
}

test("another cluster's etcd is refused instead of counting none", async () => {
  await refused(/--etcd prdo=…: usage counts the etcds of prod alone/, "--etcd", `prdo=${etcd.url}`);
  assert.equal(etcd.pages, 0);
});

test("page after page is read, all at the revision of the first", async () => {
  const value = await fleet.object(prod, ref, 1);
  etcd.values = Array.from({ length: 1234 }, () => value);
  const { uses } = await usage();
  assert.deepEqual(
    uses.map(({ version, count, cluster, today }) => [version, count, cluster, today]),
    [[1, 1234, "prod", "opens"]],
  );
  assert.ok(etcd.pages > 2);
  assert.deepEqual([...etcd.revisions], [0n, 7n]);
});

test("what is retired is named with the way back", async () => {
  etcd.values = [await fleet.object(prod, ref, 1)];
  for (const step of ["rotate", "promote"]) assert.equal((await fleet.run(step, "prod")).status, 0, step);
  const old = etcd.values;
  etcd.values = [await fleet.object(prod, ref, 2)];
  await createKeyJournal(fleet.keyFile).append([{ change: "retire", key: keyPath(ref), version: 2 }]);
  etcd.values = [...old, ...etcd.values];
  assert.deepEqual(
    (await usage()).uses.map(({ version, today }) => [version, today]),
    [
      [1, "retired"],
      [2, "opens"],
    ],
  );
  const { out } = await fleet.run("usage", "prod", "--etcd", etcd.url);
  assert.match(out, /^1 objects need version 1 of .*, which is retired: claviger key unretire brings it back$/m);
});

test("a version that is there and does not decrypt is told from one whose key is gone", async () => {
  etcd.values = [await fleet.object(prod, ref, 1)];
  await fleet.replaceKey({ isOld: true });
  assert.deepEqual(
    (await usage()).uses.map(({ today }) => today),
    ["refused"],
  );
});

test("where the keys cannot be asked, usage counts all the same and says why", async () => {
  etcd.values = [await fleet.object(prod, ref, 1)];
  await writeFile(fleet.keyFile, "damaged");
  const { uses } = await usage();
  assert.deepEqual(
    uses.map(({ count, today }) => [count, today]),
    [[1, "unknown"]],
  );
  assert.ok((uses[0]?.why ?? "") !== "");
});

test("each version is tried: what decrypts, and what needs a key that is gone", async () => {
  const lost = await fleet.object(prod, ref, 1);
  await fleet.replaceKey();
  etcd.values = [await fleet.object(prod, ref, 1), lost, lost];
  const { uses } = await usage();
  assert.deepEqual(
    uses.map(({ version, count, today }) => [version, count, today]),
    [
      [1, 1, "opens"],
      [1, 2, "lost"],
    ],
  );
  const { out } = await fleet.run("usage", "prod", "--etcd", etcd.url);
  assert.match(
    out,
    /2 objects need version 1 of main: transit\/prod \(key_id clv1\.\S+…\), and that key is gone: .*: \/registry\/secrets\/default\/s0001, \/registry\/secrets\/default\/s0002$/m,
  );
  const only = await usage("--no-decrypt");
  assert.deepEqual(
    only.uses.map(({ today }) => today),
    ["not tried", "not tried"],
  );
});

test("objects of another KMS plugin stand in the table with the version that they need", async () => {
  etcd.values = [
    storedValue("kleidi", "1", Buffer.from("vault:v3:AAAA")),
    storedValue("aws", "1", Buffer.from("1binary")),
  ];
  const { status, out } = await fleet.run("usage", "prod", "--etcd", etcd.url);
  assert.equal(status, 0);
  assert.match(
    out,
    /^1 +\? +of KMS plugin kleidi, not Claviger +3 +\? +not tried +\/registry\/secrets\/default\/s0000$/m,
  );
  assert.match(out, /^1 objects of KMS plugin kleidi need version 3 of a Transit key, and maybe of this one$/m);
  assert.match(out, /^1 objects of KMS plugin aws do not tell which version of which key they need$/m);
});

test("Secrets in the clear are counted as Secrets, and a key of etcd moves no cursor and forges no line", async () => {
  etcd.entries = [
    ["/registry/configmaps/default/x", Buffer.from("plain")],
    ["/registry/secrets/default/\u001b[2J\n99 forged", Buffer.from("plain")],
  ];
  const { out } = await fleet.run("usage", "prod", "--etcd", etcd.url);
  assert.match(
    out,
    /^1 Secrets are not encrypted at all, e\.g\. \/registry\/secrets\/default\/\\u\{1b\}\[2J\\u\{a\}99 forged$/m,
  );
  assert.match(out, /^1 values of other kinds are not encrypted$/m);
  assert.equal((await usage()).plainSecrets.count, 1);
});

test("kine is named and refused", async () => {
  etcd.clusterId = 0n;
  await refused(/cannot be read: it is kine .*k3s server --cluster-init/, "--etcd", etcd.url);
});

for (const [code, text, reason] of [
  [
    "OUT_OF_RANGE",
    "etcdserver: mvcc: required revision has been compacted",
    /it was compacted while it was read; run this again/,
  ],
  [
    "PERMISSION_DENIED",
    "etcdserver: permission denied",
    /it refuses \(etcdserver: permission denied\); give --etcd-cert/,
  ],
  [
    "INVALID_ARGUMENT",
    "etcdserver: user name is empty",
    /it refuses \(etcdserver: user name is empty\); give --etcd-cert/,
  ],
  ["UNIMPLEMENTED", "unknown service", /it has no etcd v3 API; is it the client port\?/],
  ["UNAVAILABLE", "etcdserver: no leader", /cannot be read: etcdserver: no leader/],
  ["INTERNAL", "x", /cannot be read: INTERNAL: x/],
] as const)
  test(`an etcd that answers ${code}: it is said what to do`, async () => {
    etcd.refusal = [code, text];
    await refused(reason, "--etcd", etcd.url);
  });

test("an etcd that gives nothing and says that there is more is not read for ever", async () => {
  etcd.isEndless = true;
  await refused(/it says that there is more, and gives nothing/, "--etcd", etcd.url);
});

test("what says nothing of where to count, or says it in a wrong way, is refused by its name", async () => {
  const file = join(fleet.dir, "x.pem");
  await writeFile(file, "x");
  await refused(/say what is to be counted: --etcd URL .* or --etcd-snapshot FILE/);
  await refused(/--etcd 10\.0\.0\.1:2379 is not the URL of an etcd/, "--etcd", "10.0.0.1:2379");
  await refused(/--prefix registry is not a path/, "--etcd", etcd.url, "--prefix", "registry");
  await refused(
    /--etcd-ca: \/nowhere cannot be read \(ENOENT: there is no such/,
    "--etcd",
    "https://a:1",
    "--etcd-ca",
    "/nowhere",
  );
  await refused(/--etcd-cert and --etcd-key go together: https:\/\/a:1/, "--etcd", "https://a:1", "--etcd-cert", file);
  await refused(
    /--etcd-cert: .*\/x\.pem holds no certificate \(PEM\)/,
    "--etcd",
    "https://a:1",
    "--etcd-cert",
    file,
    "--etcd-key",
    file,
  );
  await refused(/the snapshot \/nowhere cannot be read \(ENOENT: there is no such file/, "--etcd-snapshot", "/nowhere");
});

test("the TLS files of an endpoint go before those of its cluster, and those before everybody's", async () => {
  const ca = (...of: readonly string[]): readonly string[] => of.flatMap((one) => ["--etcd-ca", one]);
  const read = (file: string): RegExp => new RegExp(`--etcd-ca: ${file} cannot be read`);
  const to = ["--etcd", "https://a:1"];
  await refused(read("/endpoint"), ...to, ...ca("/all", "prod=/cluster", "a:1=/endpoint"));
  await refused(read("/cluster"), ...to, ...ca("/all", "prod=/cluster", "b:1=/endpoint"));
  await refused(read("/all"), ...to, ...ca("/all", "other=/cluster", "b:1=/endpoint"));
});

test("a long read says how far it is every five seconds, and a short one says nothing", () => {
  const said: string[] = [];
  let now = 0;
  const progress = createProgress(
    (line) => said.push(line),
    () => now,
  );
  for (; now < 12_000; now += 1000) progress("etcd at x", now, 50_000);
  progress("the snapshot y", 3);
  assert.deepEqual(said, ["etcd at x: 5000 of 50000 entries read", "etcd at x: 10000 of 50000 entries read"]);
});
