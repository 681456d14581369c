// The charts, as the real Helm renders them and a real kube-apiserver takes them, each way of installing them. The kinds
// of cert-manager, the Prometheus operator and External Secrets are these projects' own; the ClusterSPIFFEID of SPIRE is
// a stand-in that takes any field. Pods start in test/real/kubelet.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { readYamlFile } from "@claviger/proto/runtime/config.ts";
import { loadGatewayConfig } from "@claviger/gateway-core/src/config.ts";
import { loadShimConfig } from "@claviger/shim/src/config.ts";
import { loadFleetConfig } from "../../../gateway/fleet/src/config.ts";
import { kubeconfig } from "../../lab/kubeconfig.ts";
import { type ApiServer, startApiServer, startEtcd } from "../../lab/kubernetes.ts";
import { createProcessGroup, until } from "../../lab/process-group.ts";
import { crdFile, findBinary } from "../../parts/find.ts";
import { chartDir, type Helm, type Manifest, openHelm, run, type Said } from "./chart.ts";
import { crd } from "./stand-ins.ts";
import { writeStrictSchemas } from "./strict-schemas.ts";
import { variants } from "./variants.ts";

const definitions = [
  readYamlFile(crdFile("cert-manager", "certificates.cert-manager.io")),
  readYamlFile(crdFile("external-secrets", "externalsecrets.external-secrets.io")),
  readYamlFile(crdFile("prometheus-operator", "servicemonitors.monitoring.coreos.com")),
  readYamlFile(crdFile("prometheus-operator", "podmonitors.monitoring.coreos.com")),
  readYamlFile(crdFile("prometheus-operator", "prometheusrules.monitoring.coreos.com")),
  crd("spire.spiffe.io", "v1alpha1", "ClusterSPIFFEID", "clusterspiffeids", "Cluster"),
] as readonly {
  readonly spec: {
    readonly group: string;
    readonly names: { readonly kind: string };
    readonly versions: readonly { readonly name: string; readonly storage: boolean }[];
  };
}[];

suite("The charts", () => {
  const dir = mkdtempSync(join(tmpdir(), "claviger-charts-"));
  const processes = createProcessGroup(dir);
  let api: ApiServer;
  let helm: Helm;
  let schemas: string;

  const kubectl = (...args: readonly string[]): Promise<Said> =>
    run(findBinary("kubectl"), [`--kubeconfig=${join(dir, "kubeconfig")}`, ...args], { HOME: dir, PATH: "" });
  const create = async (path: string, body: object): Promise<void> => {
    const { status, json } = await api.call("POST", path, body);
    assert.equal(status, 201, JSON.stringify(json));
  };

  before(async () => {
    const etcd = await startEtcd(processes, dir);
    api = await startApiServer({ processes, dir, name: "apiserver", etcd });
    await api.waitReady();
    writeFileSync(join(dir, "kubeconfig"), kubeconfig(api), { mode: 0o600 });
    helm = openHelm(kubeconfig(api));
    for (const definition of definitions)
      await create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition);
    for (const { spec } of definitions) {
      const { group, names, versions } = spec;
      const at = `/openapi/v3/apis/${group}/${versions.find(({ storage }) => storage)?.name ?? ""}`;
      await until(`${names.kind} to be published`, api.proc(), async () =>
        JSON.stringify((await api.call("GET", at)).json).includes(`"kind":"${names.kind}"`) ? true : undefined,
      );
    }
    schemas = await writeStrictSchemas(api, join(dir, "schemas"));
  });
  after(async () => {
    helm.close();
    await api.close();
    await processes.stopAll();
    rmSync(dir, { recursive: true, force: true });
  });

  /** The configurations in ConfigMaps, read by the programs' own readers. */
  const readConfigurations = (manifests: readonly Manifest[]): readonly string[] =>
    manifests
      .filter(({ kind }) => kind === "ConfigMap")
      .flatMap(({ data = {} }) => Object.entries(data))
      .flatMap(([name, text]) => {
        const file = join(dir, name);
        writeFileSync(file, text);
        if (name === "gateway.yaml") loadGatewayConfig(file);
        else if (name === "fleet.yaml") loadFleetConfig(file);
        else if (name === "shim.yaml") loadShimConfig(file, {}, {});
        else return [];
        return [name];
      });

  for (const [i, [title, { chart, values, kinds, configurations, profile }]] of Object.entries(variants).entries())
    test(`${chart}, ${title}`, async () => {
      const namespace = `variant-${i}`;
      const lint = await helm.helm(["lint", "--strict", chartDir(chart)], values);
      assert.equal(lint.code, 0, lint.stdout + lint.stderr);

      const manifests = await helm.render(chart, values, namespace);
      assert.deepEqual([...new Set(manifests.map(({ kind }) => kind))].toSorted(), kinds.toSorted());
      assert.deepEqual(readConfigurations(manifests).toSorted(), configurations);

      const file = join(dir, `${namespace}.json`);
      writeFileSync(file, JSON.stringify({ apiVersion: "v1", kind: "List", items: manifests }));
      const conform = await run(findBinary("kubeconform"), ["-strict", "-summary", "-schema-location", schemas, file]);
      assert.equal(conform.code, 0, conform.stdout + conform.stderr);
      assert.match(conform.stdout, new RegExp(`Valid: ${manifests.length}, Invalid: 0, Errors: 0, Skipped: 0`));

      // What this namespace does not let run is refused: the pod of `helm test` is the program's own pod.
      const labels = { "pod-security.kubernetes.io/enforce": profile };
      await create("/api/v1/namespaces", {
        apiVersion: "v1",
        kind: "Namespace",
        metadata: { name: namespace, labels },
      });
      for (const how of [["--dry-run=server"], []]) {
        const applied = await kubectl("apply", "--server-side", ...how, "-f", file);
        assert.equal(applied.code, 0, applied.stderr);
        assert.equal(
          applied.stdout.split("\n").filter((line) => line.includes("serverside-applied")).length,
          manifests.length,
        );
        assert.equal(applied.stderr, "", "kube-apiserver has something to remark");
      }
    });

  test("kubeconform's schemas refuse a field that no kind has, of Kubernetes and of others", async () => {
    const [, { chart, values }] = Object.entries(variants)[3] ?? assert.fail("no variant");
    const manifests = await helm.render(chart, values);
    for (const wanted of ["Deployment", "Certificate"]) {
      const one = manifests.find(({ kind }) => kind === wanted);
      assert.ok(one !== undefined);
      const file = join(dir, `wrong-${wanted}.json`);
      writeFileSync(file, JSON.stringify({ ...one, spec: { ...one.spec, replicaz: 3 } }));
      const { code, stdout } = await run(findBinary("kubeconform"), ["-strict", "-schema-location", schemas, file]);
      assert.equal(code, 1);
      assert.match(stdout, /replicaz/);
    }
  });

  test("labels by which Prometheus finds things are labels, whatever annotations there are", async () => {
    const all = variants["gateways and fleet service with all that can be set"] ?? assert.fail("no such variant");
    const found = (await helm.render("claviger", all.values)).filter(({ kind }) =>
      /^P(?:odMonitor|rometheusRule)$/.test(kind),
    );
    assert.equal(found.length, 2);
    for (const { metadata } of found) {
      assert.equal(metadata.labels?.["release"], "prometheus");
      assert.deepEqual(metadata.annotations, { "example.com/owner": "security" });
    }
  });

  test("each values.schema.json is what values.yaml and the programs' settings say", async () => {
    const script = join(chartDir("claviger"), "..", "schema.ts");
    const { code, stderr } = await run(process.execPath, [script, "--check"], { ...process.env });
    assert.equal(code, 0, stderr);
  });
});
