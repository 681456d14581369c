// EncryptionConfigurations, good and bad, for whoever judges them.
import { stringify } from "yaml";

type Tree = Readonly<Record<string, unknown>>;
export type Case = {
  readonly what: string;
  /** A document, or the text of one. */
  readonly config: Tree | string;
  /** Why doctor has a failure although kube-apiserver starts. */
  readonly stricter?: string;
  /** kube-apiserver refuses it after it has connected to the plugin. */
  readonly isLate?: boolean;
};

const identity = { identity: {} };
const keys = (secret: string, name = "k") => ({ keys: [{ name, secret }] });
const base64 = (length: number): string => Buffer.alloc(length, 7).toString("base64");

/** @param socket that the provider's endpoint is */
export function encryptionCases(socket: string): readonly Case[] {
  const kms = (change: Tree = {}): Tree => ({
    kms: { apiVersion: "v2", name: "claviger", endpoint: `unix://${socket}`, timeout: "3s", ...change },
  });
  const whole = (resources: readonly Tree[], change: Tree = {}): Tree => ({
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "EncryptionConfiguration",
    resources,
    ...change,
  });
  const secrets = (...providers: readonly Tree[]): Tree => whole([{ resources: ["secrets"], providers }]);
  const named = (...resources: readonly string[]): Tree => whole([{ resources, providers: [kms(), identity] }]);
  const good = secrets(kms(), identity);

  return [
    { what: "as it should be", config: good },
    { what: "no providers but kms", config: secrets(kms()) },
    { what: "no timeout", config: secrets(kms({ timeout: undefined }), identity) },
    {
      what: "every kind of provider",
      config: secrets(
        kms(),
        { aescbc: keys(base64(32)) },
        { aesgcm: keys(base64(16)) },
        { secretbox: keys(base64(32)) },
        identity,
      ),
    },
    { what: "JSON", config: JSON.stringify(good) },
    ...["1m30s", ".5s", "2.s", "+2s", "2000000us", "1h1ms"].map((timeout) => ({
      what: `timeout ${timeout}`,
      config: secrets(kms({ timeout })),
    })),
    ...["0s", "0", "-1s", "3", "", "1d", 3].map((timeout) => ({
      what: `timeout ${JSON.stringify(timeout)}`,
      config: secrets(kms({ timeout })),
    })),
    ...["tcp:///a", "", "unix", "UNIX:///a b", "unix://%zz/a"].map((endpoint) => ({
      what: `endpoint ${endpoint}`,
      config: secrets(kms({ endpoint })),
      ...(endpoint.startsWith("UNIX") && { stricter: "it is another socket" }),
    })),
    ...["", "a:b", 3].map((name) => ({ what: `name ${JSON.stringify(name)}`, config: secrets(kms({ name })) })),
    ...["v3", "V2", ""].map((apiVersion) => ({
      what: `apiVersion ${apiVersion}`,
      config: secrets(kms({ apiVersion })),
    })),
    { what: "apiVersion left out", config: secrets(kms({ apiVersion: undefined })) },
    { what: "cachesize with v2", config: secrets(kms({ cachesize: 100 })) },
    { what: "a setting that there is not", config: secrets(kms({ nonsense: 1 })) },
    {
      what: "a setting in capitals",
      config: secrets({ kms: { apiversion: "v2", name: "claviger", endpoint: `unix://${socket}` } }),
    },
    {
      what: "a setting of the whole that there is not",
      config: whole([{ resources: ["secrets"], providers: [kms()] }], { nonsense: 1 }),
    },
    { what: "metadata", config: whole([{ resources: ["secrets"], providers: [kms()] }], { metadata: { name: "x" } }) },
    {
      what: "a setting of an entry that there is not",
      config: whole([{ resources: ["secrets"], providers: [kms()], nonsense: 1 }]),
    },
    { what: "another kind", config: whole([], { kind: "EncryptionConfig" }) },
    {
      what: "another version",
      config: whole([{ resources: ["secrets"], providers: [kms()] }], { apiVersion: "apiserver.config.k8s.io/v2" }),
    },
    { what: "no entry", config: whole([]) },
    { what: "no resource", config: whole([{ resources: [], providers: [kms()] }]) },
    { what: "no provider", config: whole([{ resources: ["secrets"], providers: [] }]) },
    { what: "a provider that is none", config: secrets({}) },
    { what: "identity without a value", config: secrets(kms(), { identity: null }) },
    { what: "two in one item", config: secrets({ ...kms(), ...identity }) },
    { what: "one that there is not", config: secrets(kms(), { rot13: {} }) },
    { what: "no keys", config: secrets(kms(), { aescbc: {} }) },
    { what: "a short key", config: secrets(kms(), { aescbc: keys(base64(15)) }) },
    { what: "a short secretbox", config: secrets(kms(), { secretbox: keys(base64(16)) }) },
    { what: "a key that is no base64", config: secrets(kms(), { aesgcm: keys("not base64 at all!") }) },
    { what: "a key without padding", config: secrets(kms(), { aesgcm: keys(base64(32).replace("=", "")) }) },
    { what: "a key without a name", config: secrets(kms(), { aesgcm: keys(base64(32), "") }) },
    { what: "two providers of one name", config: secrets(kms(), kms()) },
    ...["*.*", "*.", "*.apps", "events", "deployments.apps", "things.example.com"].map((name) => ({
      what: name,
      config: named(name),
    })),
    ...[
      "*",
      "Secrets",
      "secrets.*",
      "events.events.k8s.io",
      "ingresses.extensions",
      "*.extensions",
      "serviceipallocations",
    ].map((name) => ({ what: name, config: named(name) })),
    ...[
      ["secrets", "secrets"],
      ["secrets", "*."],
      ["*.*", "secrets"],
      ["*.apps", "deployments.apps"],
      ["*.apps", "secrets"],
    ].map((names) => ({ what: names.join(" and "), config: named(...names) })),
    {
      what: "a wildcard in front of what it covers",
      isLate: true,
      config: whole([
        { resources: ["*."], providers: [kms()] },
        { resources: ["secrets"], providers: [identity] },
      ]),
    },
    {
      what: "a name twice in YAML",
      config: stringify(good).replace("timeout: 3s", "timeout: 3s\n          timeout: 4s"),
    },
    { what: "no YAML", config: "a: [" },
    { what: "an empty file", config: "" },
  ];
}
