// External Secrets Operator: its controller copies values from a store into Secrets. Here from a Vault
// (OpenBao's KV), and from its fake provider, whose values stand in the store's own object.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { request } from "undici";
import { parse } from "yaml";
import { kubeconfig } from "../../lab/kubeconfig.ts";
import type { ApiServer } from "../../lab/kubernetes.ts";
import { createProcessGroup, type LabProcess, type ProcessGroup, until } from "../../lab/process-group.ts";
import { externalSecretsCrds, findBinary } from "../../parts/find.ts";
import { findingsIn } from "../control-plane.ts";
import { type Cell, tested } from "../row.ts";
import { filesOf, newValue } from "../search.ts";
import type { World } from "../world.ts";
import type { Tool } from "./tools.ts";

const api = "/apis/external-secrets.io/v1/namespaces/default";
const crdApi = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
/** Those that the controller wants to watch, whatever it is told to leave alone. */
const definitions = [
  "external-secrets.io_secretstores",
  "external-secrets.io_clustersecretstores",
  "external-secrets.io_externalsecrets",
  "external-secrets.io_clusterexternalsecrets",
  "generators.external-secrets.io_generatorstates",
];

async function post(server: ApiServer, path: string, body: unknown): Promise<void> {
  const { status, json } = await server.call("POST", path, body);
  if (status !== 201) throw new Error(`kube-apiserver answered ${status} to ${path}: ${JSON.stringify(json)}`);
}

async function installCrds(server: ApiServer): Promise<void> {
  for (const name of definitions) {
    const file = join(externalSecretsCrds(), `${name}.yaml`);
    await post(server, crdApi, parse(readFileSync(file, "utf8")));
  }
  for (const kind of ["secretstores", "externalsecrets"])
    await until(`the kind ${kind}`, undefined, async () =>
      (await server.call("GET", `${api}/${kind}`)).status === 200 ? true : undefined,
    );
}

/** Starts the controller for one kube-apiserver; it ends with the group. */
async function startController(processes: ProcessGroup, server: ApiServer, dir: string): Promise<LabProcess> {
  const config = join(dir, "eso.kubeconfig");
  writeFileSync(config, kubeconfig(server), { mode: 0o600 });
  await installCrds(server);
  const off = ["cluster-store-reconciler", "cluster-external-secret-reconciler", "cluster-push-secret-reconciler"];
  const flags = [...off, "push-secret-reconciler", "generator-state"].map((name) => `--enable-${name}=false`);
  return processes.start(
    "external-secrets",
    [findBinary("external-secrets"), "--metrics-addr=127.0.0.1:0", "--namespace=default", ...flags],
    { KUBECONFIG: config },
  );
}

function storeOf(name: string, provider: unknown): unknown {
  return { apiVersion: "external-secrets.io/v1", kind: "SecretStore", metadata: { name }, spec: { provider } };
}

function externalSecret(name: string, store: string, remoteRef: unknown): unknown {
  return {
    apiVersion: "external-secrets.io/v1",
    kind: "ExternalSecret",
    metadata: { name },
    spec: {
      refreshInterval: "1h",
      secretStoreRef: { kind: "SecretStore", name: store },
      target: { name },
      data: [{ secretKey: "value", remoteRef }],
    },
  };
}

const setUp =
  "The real controller of External Secrets Operator, which copies the value into a Secret of a kube-apiserver that encrypts nothing.";

async function vaultTool(world: World): Promise<Tool> {
  const { vault, control, dir } = world;
  const value = newValue();
  await vault.call("POST", "sys/mounts/kv", { type: "kv-v2" });
  await until("the KV mount", undefined, () =>
    vault.call("POST", "kv/data/app", { data: { password: value.toString() } }).then(
      () => true,
      () => undefined,
    ),
  );
  await vault.call("PUT", "sys/policies/acl/eso", { policy: 'path "kv/data/*" { capabilities = ["read"] }' });
  const created = await vault.call<{ auth: { client_token: string } }>("POST", "auth/token/create", {
    policies: ["eso"],
  });
  const token = created.auth.client_token;
  const provider = {
    server: vault.addr,
    path: "kv",
    version: "v2",
    auth: { tokenSecretRef: { name: "eso-vault-token", key: "value" } },
  };
  return {
    name: "External Secrets Operator (Vault)",
    setUp: `${setUp} The store is a KV v2 of OpenBao, its token another Secret.`,
    secret: "eso-vault",
    value,
    async bring(server) {
      await server.createSecret("eso-vault-token", Buffer.from(token));
      await post(server, `${api}/secretstores`, storeOf("vault", { vault: provider }));
      await post(
        server,
        `${api}/externalsecrets`,
        externalSecret("eso-vault", "vault", { key: "app", property: "password" }),
      );
    },
    beside: () => [],
    async kmsServer(): Promise<Cell> {
      const stake = { control, secrets: [{ what: "the Secret", bytes: value }], keys: [] };
      const files = [join(dir, "openbao", "raft"), vault.auditLog];
      const answer = await request(`${vault.addr}/v1/kv/data/app`, { headers: { "x-vault-token": token } });
      const read = (await answer.body.json()) as { data?: { data?: { password?: string } } };
      const is = read.data?.data?.password === value.toString();
      return tested(
        [
          {
            did: "the store's token, from the Secret beside, is used at OpenBao",
            result: is ? "the Secret" : `OpenBao answers ${answer.statusCode}`,
            succeeded: is,
            gives: "the Secret",
          },
        ],
        findingsIn(filesOf("OpenBao's storage and audit log", files, control, join(dir, "logs")), stake),
      );
    },
  };
}

function fakeTool(): Tool {
  const value = newValue();
  return {
    name: "External Secrets Operator (fake provider)",
    setUp: `${setUp} The store's own object holds the value, in the clear.`,
    secret: "eso-fake",
    value,
    async bring(server) {
      await post(
        server,
        `${api}/secretstores`,
        storeOf("fake", { fake: { data: [{ key: "app", value: value.toString() }] } }),
      );
      await post(server, `${api}/externalsecrets`, externalSecret("eso-fake", "fake", { key: "app" }));
    },
    beside: () => [],
    kmsServer: async () => ({ kind: "absent", why: "there is none" }),
  };
}

/**
 * The controller runs for each kube-apiserver that a tool is used on, until `stop`.
 * @param dir a folder of its own
 */
export async function externalSecretsTools(
  world: World,
  dir: string,
): Promise<{ readonly tools: readonly Tool[]; stop(): Promise<void> }> {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const processes = createProcessGroup(dir);
  const controllers = new Map<string, LabProcess>();
  const withController = (tool: Tool): Tool => ({
    ...tool,
    async bring(server, scratch) {
      const controller = controllers.get(server.server) ?? (await startController(processes, server, scratch));
      controllers.set(server.server, controller);
      await tool.bring(server, scratch);
      await until(`the Secret of ${tool.name}`, controller, () =>
        server.readSecret(tool.secret).catch(() => undefined),
      );
    },
  });
  return { tools: [await vaultTool(world), fakeTool()].map(withController), stop: () => processes.stopAll() };
}
