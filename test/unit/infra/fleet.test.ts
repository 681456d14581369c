// What the files of infra/fleet and its image say of one another: ports, flags, rights, versions.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { parseYaml } from "@claviger/proto/runtime/config.ts";
import { loadFleetConfig } from "../../../gateway/fleet/src/config.ts";
import packageJson from "../../../package.json" with { type: "json" };

const infra = join(import.meta.dirname, "..", "..", "..", "infra");
const text = (path: string): string => readFileSync(join(infra, path), "utf8");

type Port = { readonly port: number };
type Deployment = {
  readonly spec: {
    readonly replicas: number;
    readonly template: {
      readonly spec: {
        readonly automountServiceAccountToken: boolean;
        readonly securityContext: { readonly runAsNonRoot: boolean; readonly runAsUser: number };
        readonly containers: readonly {
          readonly image: string;
          readonly args: readonly string[];
          readonly ports: readonly { readonly containerPort: number }[];
          readonly securityContext: object;
          readonly volumeMounts: readonly { readonly name: string; readonly readOnly: boolean }[];
        }[];
      };
    };
  };
};
type Service = { readonly spec: { readonly ports: readonly Port[] } };
type NetworkPolicy = { readonly spec: { readonly ingress: readonly { readonly ports: readonly Port[] }[] } };

/** The documents of a manifest. */
function read<T>(path: string): readonly T[] {
  return text(path)
    .split(/^---$/m)
    .map((one) => parseYaml(path, one) as T);
}

suite("infra/fleet", () => {
  const [deployment] = read<Deployment>("fleet/deployment.yaml");
  assert.ok(deployment !== undefined);
  const { replicas, template } = deployment.spec;
  const pod = template.spec;
  const [container] = pod.containers;
  assert.ok(container !== undefined);
  const config = loadFleetConfig(join(infra, "fleet", "fleet.yaml"));

  test("two replicas keep everything in Vault, and the pod has no right that it does not need", () => {
    assert.equal(replicas, 2);
    for (const { kind } of [config.registry, config.tokens, config.certificates.ca]) assert.equal(kind, "vault");
    assert.deepEqual(container.securityContext, {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    });
    const { runAsNonRoot, runAsUser } = pod.securityContext;
    assert.deepEqual([runAsNonRoot, runAsUser, pod.automountServiceAccountToken], [true, 65_532, false]);
    assert.ok(container.volumeMounts.length > 0);
    for (const { name, readOnly } of container.volumeMounts) assert.equal(readOnly, true, name);
    assert.deepEqual(Object.keys(config.operators), [], "nobody is an operator until a site says so");
  });

  test("its ports are the same everywhere", () => {
    const ports = [config.listen.port, config.admin.port];
    assert.deepEqual(
      container.ports.map(({ containerPort }) => containerPort),
      ports,
    );
    const services = read<Service>("fleet/service.yaml").flatMap(({ spec }) => spec.ports);
    const [policy] = read<NetworkPolicy>("fleet/networkpolicy.yaml");
    const admitted = (policy?.spec.ingress ?? []).flatMap((rule) => rule.ports);
    for (const list of [services, admitted])
      assert.deepEqual(
        list.map(({ port }) => port),
        ports,
      );
  });

  test("the image, its name in the manifest, and the unit start the program alike", () => {
    const { version } = packageJson;
    assert.equal(container.image, `registry.invalid/claviger/fleet:${version}`);
    const entry = /^ENTRYPOINT (\[.*\])$/m.exec(text("image/fleet.Dockerfile"))?.[1] ?? "[]";
    const flags = (JSON.parse(entry) as readonly string[]).filter((word) => word.startsWith("--"));
    assert.ok(flags.length > 0);
    const unit = /^ExecStart=\S+ (.*) \/opt/m.exec(text("fleet/claviger-fleet.service"))?.[1];
    assert.equal(unit, flags.join(" "));
    assert.equal(text("image/fleet.Dockerfile.dockerignore"), text("image/gateway.Dockerfile.dockerignore"));
    assert.deepEqual(container.args, ["--config", "/etc/claviger/fleet.yaml"]);
  });
});
