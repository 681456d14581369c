// An EncryptionConfiguration that does not do what its author wanted: for each the id, the state, and what to do.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { catalog } from "@claviger/cli/src/doctor/catalog.ts";
import { readEncryptionConfig } from "@claviger/cli/src/doctor/node/encryption-config.ts";
import { goDuration, judgeEncryption } from "@claviger/cli/src/doctor/node/encryption-judgement.ts";

const socket = "/run/claviger/kms.sock";
const kms = (change: Readonly<Record<string, unknown>> = {}) => ({
  kms: { apiVersion: "v2", name: "claviger", endpoint: `unix://${socket}`, timeout: "3s", ...change },
});
const identity = { identity: {} };
const aescbc = { aescbc: { keys: [{ name: "k", secret: Buffer.alloc(32).toString("base64") }] } };

type Entry = { readonly resources: readonly string[]; readonly providers: readonly object[] };
const secrets = (...providers: readonly object[]): Entry => ({ resources: ["secrets"], providers });

function read(...resources: readonly Entry[]) {
  const document = { apiVersion: "apiserver.config.k8s.io/v1", kind: "EncryptionConfiguration", resources };
  return readEncryptionConfig("encryption.yaml", JSON.stringify(document));
}

function judge(config: ReturnType<typeof read>, before?: ReturnType<typeof read>) {
  return judgeEncryption(config, { isOurs: (endpoint) => endpoint === `unix://${socket}`, socket, before });
}

type Case = {
  readonly what: string;
  readonly config: readonly Entry[];
  readonly before?: readonly Entry[];
  readonly id: string;
  readonly verdict: string;
  readonly found: RegExp;
  readonly cure?: RegExp;
};

const cases: readonly Case[] = [
  {
    what: "apiVersion is left out",
    config: [secrets(kms({ apiVersion: undefined }), identity)],
    id: "kms-v1-by-omission",
    verdict: "failed",
    found: /^provider claviger says no apiVersion, which means v1/,
    cure: /write apiVersion: v2/,
  },
  {
    what: "apiVersion is v1",
    config: [secrets(kms({ apiVersion: "v1" }), identity)],
    id: "kms-v1-by-omission",
    verdict: "warning",
    found: /apiVersion: v1$/,
    cure: /another name in front of it, migrate storage/,
  },
  {
    what: "apiVersion is none",
    config: [secrets(kms({ apiVersion: "v3" }), identity)],
    id: "kms-v1-by-omission",
    verdict: "failed",
    found: /apiVersion: v3: kube-apiserver does not start$/,
  },
  {
    what: "the endpoint has two slashes",
    config: [secrets(kms({ endpoint: "unix://run/claviger/kms.sock" }), identity)],
    id: "endpoint",
    verdict: "failed",
    found: /no provider has the shim's socket .*: unix:\/\/run\/claviger\/kms\.sock$/,
    cure: /three slashes/,
  },
  {
    what: "there is no kms provider",
    config: [secrets(identity)],
    id: "endpoint",
    verdict: "failed",
    found: /^there is no kms provider$/,
    cure: /endpoint: unix:\/\/\/run\/claviger\/kms\.sock/,
  },
  {
    what: "identity stands first",
    config: [secrets(identity, kms())],
    id: "order",
    verdict: "warning",
    found: /written in the clear, since identity stands first/,
    cure: /put kms first on each/,
  },
  {
    what: "an earlier provider stands first",
    config: [secrets(aescbc, kms(), identity)],
    id: "order",
    verdict: "warning",
    found: /written under aescbc/,
  },
  {
    what: "the timeout is shorter than a moment",
    config: [secrets(kms({ timeout: "100ms" }), identity)],
    id: "timeout",
    verdict: "warning",
    found: /timeout 100ms: a gateway that is slow/,
    cure: /timeout: 3s/,
  },
  {
    what: "the timeout is longer than any gateway works",
    config: [secrets(kms({ timeout: "1m0s" }), identity)],
    id: "timeout",
    verdict: "warning",
    found: /no gateway works longer than 10 s/,
  },
  {
    what: "the timeout is none",
    config: [secrets(kms({ timeout: "3" }), identity)],
    id: "timeout",
    verdict: "failed",
    found: /timeout 3 is no duration/,
  },
  {
    what: "the timeout is nothing",
    config: [secrets(kms({ timeout: "0s" }), identity)],
    id: "timeout",
    verdict: "failed",
    found: /timeout 0s is not more than zero/,
  },
  {
    what: "two providers have one name",
    config: [secrets(kms(), identity), { resources: ["configmaps"], providers: [kms()] }],
    id: "name",
    verdict: "failed",
    found: /two providers are called claviger/,
    cure: /under one provider/,
  },
  {
    what: "the name has a colon",
    config: [secrets(kms({ name: "a:b" }), identity)],
    id: "name",
    verdict: "failed",
    found: /a:b has a colon/,
  },
  {
    what: "the name has changed",
    config: [secrets(kms({ name: "new" }), identity)],
    before: [secrets(kms(), identity)],
    id: "name",
    verdict: "failed",
    found: /provider claviger of the file before is gone/,
    cure: /list both, the new one first/,
  },
  {
    what: "identity is gone before storage is migrated",
    config: [secrets(kms())],
    before: [secrets(identity, kms())],
    id: "identity",
    verdict: "failed",
    found: /the file before wrote in the clear/,
    cure: /add identity: \{\} as the last provider/,
  },
  {
    what: "identity is gone, and nothing says whether it may be",
    config: [secrets(kms())],
    id: "identity",
    verdict: "not tried",
    found: /right once storage is migrated/,
    cure: /claviger key usage/,
  },
  {
    what: "everything is encrypted",
    config: [{ resources: ["*.*"], providers: [kms(), identity] }],
    id: "wildcard",
    verdict: "warning",
    found: /^\*\.\*: what nodes and pods need/,
    cure: /systemd unit or static pod/,
  },
  {
    what: "ConfigMaps are encrypted",
    config: [{ resources: ["secrets", "configmaps"], providers: [kms(), identity] }],
    id: "wildcard",
    verdict: "warning",
    found: /^configmaps: /,
  },
  {
    what: "a resource stands twice in a list",
    config: [{ resources: ["secrets", "secrets"], providers: [kms(), identity] }],
    id: "duplicates",
    verdict: "failed",
    found: /secrets stands twice in one list/,
  },
  {
    what: "a resource stands in two entries",
    config: [secrets(identity), secrets(kms())],
    id: "duplicates",
    verdict: "warning",
    found: /secrets stands in two entries: the first provider of the second one never writes/,
    cure: /into one entry/,
  },
  {
    what: "a resource stands behind a wildcard",
    config: [{ resources: ["*.*"], providers: [identity] }, secrets(kms(), identity)],
    id: "duplicates",
    verdict: "failed",
    found: /secrets stands behind \*\.\*/,
    cure: /in front of that of \*\.\*/,
  },
  {
    what: "a star alone",
    config: [{ resources: ["*"], providers: [kms(), identity] }],
    id: "duplicates",
    verdict: "failed",
    found: /'\*' is none/,
  },
  {
    what: "a wildcard with one of its own",
    config: [{ resources: ["*.apps", "deployments.apps"], providers: [kms(), identity] }],
    id: "duplicates",
    verdict: "failed",
    found: /\*\.apps stands in one list with deployments\.apps/,
  },
];

suite("an EncryptionConfiguration, judged", () => {
  test("a good one: every row is ok, and each id of the table has one", () => {
    const judged = judge(read(secrets(kms(), identity)));
    assert.deepEqual(
      judged.filter(({ verdict }) => verdict !== "ok"),
      [],
    );
    const ids = Object.keys(catalog.node).filter(
      (id) => id.startsWith("node.encryption-config.") && !id.endsWith(".readable"),
    );
    assert.deepEqual([...new Set(judged.map(({ id }) => id))].toSorted(), ids.toSorted());
  });

  for (const { what, config, before, id, verdict, found, cure } of cases)
    test(what, () => {
      const judged = judge(read(...config), before && read(...before));
      const row = judged.find((one) => one.id === `node.encryption-config.${id}` && one.verdict !== "ok");
      assert.ok(row !== undefined, JSON.stringify(judged, undefined, 1));
      assert.equal(row.verdict, verdict);
      assert.match(row.found, found);
      if (cure !== undefined) assert.match(row.cure ?? "", cure);
    });

  test("what is no EncryptionConfiguration is said to be none", () => {
    const bad = ["kind: EncryptionConfig\napiVersion: v1\nresources: []\n", "a: 1\n"];
    for (const text of bad)
      assert.throws(() => readEncryptionConfig("f", text), { message: /^f is no EncryptionConfiguration/ });
    assert.throws(() => read(secrets({})), { message: /providers\.0: must be one of kms, identity/ });
    assert.throws(() => read(secrets({ ...kms(), ...identity })), { message: /providers\.0: must be one of/ });
    assert.throws(() => read(secrets({ kms: { name: "x" } })), { message: /kms\.endpoint: is missing/ });
  });

  test("durations are read as Go reads them", () => {
    const good = { "3s": 3000, "1m0s": 60_000, "1.5s": 1500, "500ms": 500, "1h": 3_600_000, ".5s": 500, "3.s": 3000 };
    const odd = { "-1s": -1000, "+2s": 2000, "0": 0, "2000000us": 2000, "7ns": 7e-6, "1µs1μs": 2e-3 };
    for (const [text, ms] of Object.entries({ ...good, ...odd })) assert.equal(goDuration(text), ms, text);
    for (const text of ["", "3", "s", ".s", "3 s", "1d", "--1s"]) assert.equal(goDuration(text), undefined, text);
  });
});
