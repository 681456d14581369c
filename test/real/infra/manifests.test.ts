// The manifests, as a real kube-apiserver takes them: a server-side dry run of each set, and Pod
// Security's own words about each pod. ServiceMonitor and Knative Service have no published schema
// here: minimal stand-in CRDs accept any spec, so those two are checked for kind, name and
// namespace only, and the tests say so.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { promisify } from "node:util";
import { readYamlFile } from "@claviger/proto/runtime/config.ts";
import { type ApiServer, readToken, startApiServer, startEtcd } from "../../lab/kubernetes.ts";
import { createProcessGroup, until } from "../../lab/process-group.ts";
import { findBinary } from "../../parts/find.ts";
import { crd, unchecked } from "./stand-ins.ts";

const infra = join(import.meta.dirname, "..", "..", "..", "infra");
type Rendered = {
  readonly items: readonly {
    readonly kind: string;
    readonly apiVersion: string;
    readonly metadata: { readonly name: string };
    readonly spec?: { readonly template?: { readonly spec: unknown } };
  }[];
};

function namespace(name: string, labels: Record<string, string> = {}): object {
  return {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name, labels },
  };
}

suite("The manifests", () => {
  const dir = mkdtempSync(join(tmpdir(), "claviger-infra-"));
  const processes = createProcessGroup(dir);
  let api: ApiServer;

  const kubectl = async (...args: readonly string[]): Promise<string> => {
    const { stdout, stderr } = await promisify(execFile)(
      findBinary("kubectl"),
      [
        `--server=${api.server}`,
        `--token=${readToken(api.tokenFile)}`,
        "--insecure-skip-tls-verify",
        `--cache-dir=${join(dir, "cache")}`,
        ...args,
      ],
      { env: { HOME: dir, PATH: "" } },
    );
    return args.includes("--dry-run=client") ? stdout : stdout + stderr;
  };
  const dryRun = (...args: readonly string[]): Promise<string> =>
    kubectl("apply", "--server-side", "--dry-run=server", ...args);
  const create = async (path: string, body: object): Promise<void> => {
    const { status, json } = await api.call("POST", path, body);
    assert.equal(status, 201, JSON.stringify(json));
  };
  /** What the restricted profile says against a pod: nothing when it is admitted. */
  const objections = async (spec: unknown): Promise<readonly string[]> => {
    const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "pod" }, spec };
    const { status, json } = await api.call<{ message: string }>(
      "POST",
      "/api/v1/namespaces/strict/pods?dryRun=All",
      pod,
    );
    if (status === 201) return [];
    assert.equal(status, 403, JSON.stringify(json));
    const said = json.message.split('violates PodSecurity "restricted:latest": ')[1];
    assert.ok(said !== undefined, json.message);
    // `host namespaces (hostNetwork=true), restricted volume types (volumes "a", "b" use …)`
    return [...said.matchAll(/([a-zA-Z][\w ]*?) \((?:[^()]|\([^()]*\))*\)/g)].map(([, what]) => what ?? "").toSorted();
  };

  before(async () => {
    const etcd = await startEtcd(processes, dir);
    // No shim here: an empty flag takes the encryption away again.
    api = await startApiServer({
      processes,
      dir,
      name: "apiserver",
      etcd,
      socket: join(dir, "none.sock"),
      extraArgs: ["--encryption-provider-config="],
    });
    await api.waitReady();
    const crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    await create(crds, crd("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors"));
    await create(crds, crd("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules"));
    await create(crds, crd("serving.knative.dev", "v1", "Service", "services"));
    for (const name of ["claviger-gateway", "claviger-fleet", "claviger-system"])
      await create("/api/v1/namespaces", namespace(name));
    await create("/api/v1/namespaces", namespace("strict", { "pod-security.kubernetes.io/enforce": "restricted" }));
    for (const group of ["monitoring.coreos.com", "serving.knative.dev"])
      await until(`${group} to be served`, api.proc(), async () =>
        (await api.call("GET", `/apis/${group}/v1`)).status === 200 ? true : undefined,
      );
    await until("system-node-critical", api.proc(), async () =>
      (await api.call("GET", "/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical")).status === 200
        ? true
        : undefined,
    );
  });
  after(async () => {
    await api.close();
    await processes.stopAll();
    rmSync(dir, { recursive: true, force: true });
  });

  const central = [
    "configmap",
    "deployment",
    "horizontalpodautoscaler",
    "namespace",
    "networkpolicy",
    "poddisruptionbudget",
    "service",
    "servicemonitor",
  ];
  for (const { set, kinds } of [
    { set: "gateway", kinds: central },
    { set: "vault-agent", kinds: central },
    { set: "kubernetes-auth", kinds: [...central, "clusterrolebinding", "serviceaccount"].toSorted() },
    { set: "fleet", kinds: central.filter((kind) => kind !== "horizontalpodautoscaler") },
    {
      set: "fleet-kubernetes-auth",
      kinds: [
        ...central.filter((kind) => kind !== "horizontalpodautoscaler"),
        "clusterrolebinding",
        "serviceaccount",
      ].toSorted(),
    },
    { set: "shim", kinds: ["daemonset", "namespace"] },
    { set: "knative", kinds: ["configmap", "deployment", "secret", "service"] },
    { set: "mixin", kinds: ["configmap", "prometheusrule"] },
  ])
    test(`infra/${set} passes a server-side dry run, kind by kind${unchecked(set)}`, async () => {
      const said = await dryRun("-k", join(infra, set));
      const seen = [...said.matchAll(/^([a-z]+)[./]\S* serverside-applied/gm)].map(([, kind]) => kind);
      assert.deepEqual(
        [...new Set(seen)].toSorted((a, b) => (a ?? "").localeCompare(b ?? "")),
        kinds,
        said,
      );
    });

  test("the static pod passes a server-side dry run", async () => {
    assert.match(await dryRun("-f", join(infra, "shim", "static-pod.yaml")), /pod\/claviger-shim serverside-applied/);
  });

  const exceptions = ["host namespaces", "probe or lifecycle host", "restricted volume types"];
  test("the shim's pods break exactly the rules of the restricted profile that their files explain", async () => {
    const daemonSet = readYamlFile(join(infra, "shim", "daemonset.yaml")) as { spec: { template: { spec: unknown } } };
    const staticPod = readYamlFile(join(infra, "shim", "static-pod.yaml")) as { spec: unknown };
    assert.deepEqual(await objections(daemonSet.spec.template.spec), exceptions);
    assert.deepEqual(await objections(staticPod.spec), exceptions);
  });

  const pods = ["gateway", "kubernetes-auth", "vault-agent", "fleet", "fleet-kubernetes-auth", "knative"];
  const render = async (set: string): Promise<Rendered["items"]> =>
    (JSON.parse(await kubectl("apply", "--dry-run=client", "-o", "json", "-k", join(infra, set))) as Rendered).items;
  const podSpecs = (items: Rendered["items"]): readonly unknown[] =>
    items.flatMap(({ kind, apiVersion, spec }) =>
      kind === "Deployment" || apiVersion.startsWith("serving.knative.dev") ? [spec?.template?.spec] : [],
    );

  test("gateway, fleet service, Vault Agent and Envoy meet the restricted profile without an exception", async () => {
    for (const set of pods) {
      const specs = podSpecs(await render(set));
      assert.ok(specs.length > 0, set);
      for (const spec of specs) {
        const { timeoutSeconds: _, ...pod } = spec as Record<string, unknown>;
        assert.deepEqual(await objections(pod), [], set);
      }
    }
  });

  test("what a pod mounts is made by its set, or infra/README.md says how", async () => {
    const page = readFileSync(join(infra, "README.md"), "utf8");
    const told = [
      ...page.matchAll(/create (?:secret generic|configmap) (\S+)|^\| `([a-z-]+)`(?:, a ConfigMap)? \|/gm),
    ].map(([, a, b]) => a ?? b);
    for (const set of pods) {
      const items = await render(set);
      const made = (of: string): readonly (string | undefined)[] =>
        items.filter(({ kind }) => kind === of).map(({ metadata }) => metadata.name);
      const specs = JSON.stringify(podSpecs(items));
      const secrets = [...specs.matchAll(/"secretName":"([^"]+)"/g)].map(([, name]) => name);
      const configMaps = [...specs.matchAll(/"configMap":\{"name":"([^"]+)"/g)].map(([, name]) => name);
      assert.ok(secrets.length > 0 && configMaps.length > 0, set);
      for (const name of secrets) assert.ok([...told, ...made("Secret")].includes(name), `${set}: Secret ${name}`);
      for (const name of configMaps)
        assert.ok([...told, ...made("ConfigMap")].includes(name), `${set}: ConfigMap ${name}`);
    }
  });

  test("images of Claviger are under a name that resolves nowhere, and the registry that is shipped has no cluster", () => {
    const files = readdirSync(infra, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".yaml"));
    const images = files.flatMap((path) =>
      [...readFileSync(join(infra, path), "utf8").matchAll(/image: (\S*claviger\S*)/g)].map(([, image]) => image ?? ""),
    );
    assert.equal(images.length, 5);
    for (const image of images) assert.match(image, /^registry\.invalid\/claviger\/(gateway|fleet|shim):/);
    const registries = files.filter((path) => path.endsWith("clusters.yaml"));
    assert.equal(registries.length, 2);
    for (const path of registries) assert.deepEqual(readYamlFile(join(infra, path)), { clusters: [] });
  });

  test("the EncryptionConfiguration is one that kube-apiserver accepts, with the plugin first", async () => {
    const file = join(dir, "encryption.yaml");
    const original = readYamlFile(join(infra, "shim", "encryption-configuration.yaml")) as {
      resources: { providers: object[] }[];
    };
    assert.deepEqual(Object.keys(original.resources[0]?.providers[0] ?? {}), ["kms"]);
    writeFileSync(file, JSON.stringify(original));
    const etcd = await startEtcd(processes, mkdtempSync(join(dir, "second-")));
    const second = await startApiServer({
      processes,
      dir,
      name: "encrypting",
      etcd,
      socket: "/unused",
      extraArgs: [`--encryption-provider-config=${file}`],
    });
    // No shim answers on the file's socket, so the provider's own check is the proof that it was
    // loaded.
    const health = await until(
      "its provider's health check",
      second.proc(),
      async () => {
        const reply = await second.call("GET", "/readyz/kms-providers").catch(() => undefined);
        return reply?.status === 500 ? String(reply.json) : undefined;
      },
      60_000,
    );
    assert.match(health, /\/run\/claviger\/kms\.sock/);
    await second.close();
  });
});
