// Releases of the charts on a real kube-apiserver, by the real Helm: install, upgrade, rollback, uninstall, and what they
// must not do to clusters that are served. No kubelet is there: no pod starts, so nothing waits for pods, and `helm test`
// is not run. The charts are copied without their kubeVersion: a kube-apiserver that is built as a Go module says v0.0.0.
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { parse } from "yaml";
import { kubeconfig } from "../../lab/kubeconfig.ts";
import { type ApiServer, startApiServer, startEtcd } from "../../lab/kubernetes.ts";
import { createProcessGroup } from "../../lab/process-group.ts";
import { chartDir, type ChartName, type Helm, openHelm, type Said, type Values } from "./chart.ts";
import { gateway, shim } from "./variants.ts";

type Object = {
  readonly metadata: { readonly annotations?: Readonly<Record<string, string>> };
  readonly data: Readonly<Record<string, string>>;
  readonly spec: {
    readonly template: { readonly metadata: { readonly annotations: Readonly<Record<string, string>> } };
  };
};

suite("Releases of the charts", () => {
  const dir = mkdtempSync(join(tmpdir(), "claviger-releases-"));
  const processes = createProcessGroup(dir);
  let api: ApiServer;
  let helm: Helm;

  const copyOf = (chart: ChartName): string => {
    const copy = join(dir, chart);
    cpSync(chartDir(chart), copy, { recursive: true });
    const text = readFileSync(join(copy, "Chart.yaml"), "utf8");
    assert.match(text, /^kubeVersion: ">=1\.29\.0-0"$/m);
    writeFileSync(join(copy, "Chart.yaml"), text.replace(/^kubeVersion: .*$/m, ""));
    return copy;
  };
  const command = (namespace: string, ...args: readonly string[]): readonly string[] => [...args, "-n", namespace];
  const change = (verb: "install" | "upgrade", chart: ChartName, namespace: string, values: Values): Promise<Said> =>
    helm.helm(
      command(namespace, verb, chart, copyOf(chart), ...(verb === "install" ? ["--create-namespace"] : [])),
      values,
    );
  const done = async (said: Promise<Said>): Promise<string> => {
    const { code, stdout, stderr } = await said;
    assert.equal(code, 0, stderr);
    return stdout;
  };
  const refused = async (said: Promise<Said>, pattern: RegExp): Promise<void> => {
    const { code, stderr } = await said;
    assert.notEqual(code, 0);
    assert.match(stderr, pattern);
  };
  const get = async (path: string): Promise<Object | undefined> => {
    const { status, json } = await api.call<Object>("GET", path);
    assert.ok(status === 200 || status === 404, `${path}: ${status}`);
    return status === 200 ? json : undefined;
  };
  const clusters = async (namespace: string): Promise<readonly string[]> => {
    const map = await get(`/api/v1/namespaces/${namespace}/configmaps/claviger-gateway-registry`);
    const { clusters: records } = parse(map?.data["clusters.yaml"] ?? "clusters: []") as {
      clusters: { name: string }[];
    };
    return records.map(({ name }) => name);
  };
  const deployment = (namespace: string): Promise<Object | undefined> =>
    get(`/apis/apps/v1/namespaces/${namespace}/deployments/claviger-gateway`);
  const daemonSet = (namespace: string, name: string): Promise<Object | undefined> =>
    get(`/apis/apps/v1/namespaces/${namespace}/daemonsets/${name}`);
  const sumOf = async (namespace: string): Promise<string | undefined> =>
    (await deployment(namespace))?.spec.template.metadata.annotations["checksum/config"];

  before(async () => {
    const etcd = await startEtcd(processes, dir);
    api = await startApiServer({ processes, dir, name: "apiserver", etcd });
    await api.waitReady();
    helm = openHelm(kubeconfig(api));
  });
  after(async () => {
    helm.close();
    await api.close();
    await processes.stopAll();
    rmSync(dir, { recursive: true, force: true });
  });

  const [eu] = gateway.registry.clusters;
  const us = { ...eu, name: "prod-us", uid: "01JD9Z6X3QK8V5T7W2M4N6P8RB" };
  const withClusters = (...records: readonly object[]): Values => ({
    gateway: { ...gateway, registry: { clusters: records } },
  });

  test("gateways are installed, and NOTES say the next step", async () => {
    const notes = await done(change("install", "claviger", "gateways", withClusters(eu ?? {})));
    assert.match(notes, /Next: helm -n gateways test claviger --logs/);
    assert.match(notes, /The registry is ConfigMap claviger-gateway-registry, .*: 1 clusters/);
    assert.deepEqual(await clusters("gateways"), ["prod-eu"]);
  });

  test("an upgrade of the registry is no roll-out, one of the configuration is, and a rollback brings both back", async () => {
    const first = await sumOf("gateways");
    assert.ok(first !== undefined);
    await done(change("upgrade", "claviger", "gateways", withClusters(eu ?? {}, us)));
    assert.deepEqual(await clusters("gateways"), ["prod-eu", "prod-us"]);
    assert.equal(await sumOf("gateways"), first);
    const next = {
      ...gateway,
      config: { ...gateway.config, keys: { refresh: "20s" } },
      registry: { clusters: [eu, us] },
    };
    await done(change("upgrade", "claviger", "gateways", { gateway: next }));
    assert.notEqual(await sumOf("gateways"), first);
    await done(helm.helm(command("gateways", "rollback", "claviger", "2")));
    assert.equal(await sumOf("gateways"), first);
    assert.deepEqual(await clusters("gateways"), ["prod-eu", "prod-us"]);
  });

  test("a cluster that drops out of the list is refused, until it is named as removed", async () => {
    await refused(
      change("upgrade", "claviger", "gateways", withClusters(us)),
      /prod-eu \(uid 01JD9Z6X3QK8V5T7W2M4N6P8RA\) is served today and is not in the list: its apiservers could read no Secret/,
    );
    // A uid of another makes it another cluster.
    await refused(
      change("upgrade", "claviger", "gateways", withClusters({ ...eu, uid: "01JD9Z6X3QK8V5T7W2M4N6P8RC" }, us)),
      /prod-eu \(uid 01JD9Z6X3QK8V5T7W2M4N6P8RA\) is served today/,
    );
    assert.deepEqual(await clusters("gateways"), ["prod-eu", "prod-us"]);
    await done(
      change("upgrade", "claviger", "gateways", {
        gateway: { ...gateway, registry: { clusters: [us], removed: ["prod-eu"] } },
      }),
    );
    assert.deepEqual(await clusters("gateways"), ["prod-us"]);
  });

  test("uninstalled, the registry stays, and a release of the same name takes it up again", async () => {
    const said = await done(helm.helm(command("gateways", "uninstall", "claviger")));
    assert.match(said, /claviger-gateway-registry/);
    assert.equal(await deployment("gateways"), undefined);
    assert.deepEqual(await clusters("gateways"), ["prod-us"]);
    await refused(change("install", "claviger", "gateways", withClusters()), /prod-us .* is served today/);
    await done(change("install", "claviger", "gateways", withClusters(us)));
    assert.deepEqual(await clusters("gateways"), ["prod-us"]);
  });

  test("static pods: the release goes and comes by its installers; the other mode and a first removal are refused", async () => {
    await refused(
      change("install", "claviger-shim", "shims", { ...shim, staticPod: { state: "absent" } }),
      /absent is for the upgrade/,
    );
    const notes = await done(change("install", "claviger-shim", "shims", shim));
    assert.match(notes, /`helm uninstall` leaves the static pods where they are/);
    const map = await get("/api/v1/namespaces/shims/configmaps/claviger-shim");
    assert.match(map?.data["claviger-shim.yaml"] ?? "", /^kind: Pod$/m);
    await refused(
      change("upgrade", "claviger-shim", "shims", { ...shim, mode: "daemonset" }),
      /mode: DaemonSet claviger-shim-installer is of the other mode/,
    );
    assert.match(
      await done(change("upgrade", "claviger-shim", "shims", { ...shim, staticPod: { state: "absent" } })),
      /once nobody uses/,
    );
    await done(helm.helm(command("shims", "uninstall", "claviger-shim")));
    assert.equal(await daemonSet("shims", "claviger-shim-installer"), undefined);
  });

  test("a DaemonSet of shims stays when its release is uninstalled, unless that was said before", async () => {
    const values = { ...shim, mode: "daemonset" };
    await done(change("install", "claviger-shim", "daemons", values));
    assert.match(
      await done(helm.helm(command("daemons", "uninstall", "claviger-shim"))),
      /kept due to the resource policy/i,
    );
    assert.ok((await daemonSet("daemons", "claviger-shim")) !== undefined);
    await refused(
      change("install", "claviger-shim", "daemons", shim),
      /mode: DaemonSet claviger-shim is of the other mode/,
    );
    await done(change("install", "claviger-shim", "daemons", { ...values, keepOnUninstall: false }));
    await done(helm.helm(command("daemons", "uninstall", "claviger-shim")));
    assert.equal(await daemonSet("daemons", "claviger-shim"), undefined);
  });

  test("gateways beside the shims that may need them are refused, unless they serve others", async () => {
    await done(change("install", "claviger-shim", "daemons", { ...shim, mode: "daemonset" }));
    await refused(
      change("upgrade", "claviger", "gateways", withClusters(us)),
      /this cluster's kube-apiservers have shims \(DaemonSet daemons\/claviger-shim\): gateways that they need could not start/,
    );
    const others = { gateway: { ...gateway, registry: { clusters: [us] }, servesOtherClustersOnly: true } };
    await done(change("upgrade", "claviger", "gateways", others));
  });
});
