// What is outside of the cluster, where its pods reach it: a real OpenBao with TLS, a real Redis, and the authority of the
// fleet. And as Secrets in the cluster what the charts expect to be there.
import { mkdirSync, readFileSync, writeFileSync, chownSync } from "node:fs";
import { join } from "node:path";
import { createCa, issueGateway } from "@claviger/gateway-core/src/pki/authority.ts";
import { writePem } from "@claviger/gateway-core/src/pki/files.ts";
import { createPki, type Pki } from "../../lab/fleet.ts";
import { setUpFleetVault } from "../../lab/fleet-service.ts";
import type { ApiServer } from "../../lab/kubernetes.ts";
import { type OpenBao, setUpTransit, startOpenBao } from "../../lab/openbao.ts";
import type { ProcessGroup } from "../../lab/process-group.ts";
import { startRedis } from "../../lab/redis.ts";
import { address } from "./machine.ts";

/** The cluster that is served; its Transit key has the same name. */
export const served = "prod-eu";

export type Site = {
  readonly bao: OpenBao;
  readonly vault: string;
  readonly redis: string;
  readonly pki: Pki;
  /** Data of Secrets and ConfigMaps, by the names that the tests' values have. */
  readonly files: Readonly<Record<"gateway-tls" | "gateway-vault" | "fleet-tls" | "fleet-vault" | "fleet-trust", Data>>;
};
type Data = Readonly<Record<string, string>>;

const text = (file: string): string => readFileSync(file, "utf8");

export async function startSite(processes: ProcessGroup, dir: string): Promise<Site> {
  const authority = await createCa({ trustDomain: "vault.example" });
  const pair = await issueGateway({ ca: authority, dnsNames: ["vault.example"], ips: [address] });
  const { cert, key } = await writePem({ dir, name: "vault", pair });
  const listener = `listener "tcp" { address = "${address}:8200"  cluster_address = "${address}:8201"  tls_cert_file = "${cert}"  tls_key_file = "${key}" }`;
  const [bao, redis, pki] = await Promise.all([
    startOpenBao(processes, dir, listener),
    startRedis(processes, dir, { host: address, enter: [] }),
    createPki(dir),
  ]);
  const approles = await setUpTransit(bao, [served], ["gateway"], dir);
  await setUpFleetVault(bao, pki, dir, [served]);
  const login = approles.get("gateway");
  if (login === undefined) throw new TypeError("the gateways have no login");
  const tls = async (name: string): Promise<Data> => {
    const own = await pki.gateway(name, address);
    return { "tls.crt": text(own.cert), "tls.key": text(own.key), "ca.crt": text(pki.ca) };
  };
  return {
    bao,
    vault: `https://${address}:8200`,
    redis: `${address}:${redis.port}`,
    pki,
    files: {
      "gateway-tls": await tls("gateway"),
      "gateway-vault": {
        "ca.crt": authority.cert,
        "role-id": text(login.roleIdFile),
        "secret-id": text(login.secretIdFile),
        "redis-password": text(redis.passwordFile),
      },
      "fleet-tls": await tls("fleet"),
      "fleet-vault": { "ca.crt": authority.cert, token: text(join(dir, "fleet.token")) },
      "fleet-trust": { "bundle.crt": text(pki.ca) },
    },
  };
}

/** A namespace with a Secret or a ConfigMap (`kind`) for each entry. */
export async function createNamespace(
  api: ApiServer,
  name: string,
  profile: "restricted" | "privileged",
  objects: Readonly<Record<string, { readonly kind: "Secret" | "ConfigMap"; readonly data: Data }>> = {},
): Promise<void> {
  const create = async (path: string, body: object): Promise<void> => {
    const { status, json } = await api.call("POST", path, { apiVersion: "v1", ...body });
    if (status !== 201) throw new Error(`${path}: ${status} ${JSON.stringify(json)}`);
  };
  const labels = { "pod-security.kubernetes.io/enforce": profile };
  await create("/api/v1/namespaces", { kind: "Namespace", metadata: { name, labels } });
  for (const [object, { kind, data }] of Object.entries(objects))
    await create(`/api/v1/namespaces/${name}/${kind === "Secret" ? "secrets" : "configmaps"}`, {
      kind,
      metadata: { name: object },
      ...(kind === "Secret" ? { stringData: data } : { data }),
    });
}

/** The node's certificate, and the directory of its socket, as docs/bootstrap.md has them. */
export async function prepareNode(pki: Pki, name: string): Promise<void> {
  const user = 65_532;
  const { cert, key } = await pki.node(served, name);
  mkdirSync("/etc/claviger", { recursive: true });
  for (const [file, from] of Object.entries({ "tls.crt": cert, "tls.key": key, "gateway-ca.crt": pki.ca })) {
    const path = join("/etc/claviger", file);
    writeFileSync(path, text(from), { mode: 0o400 });
    chownSync(path, user, user);
  }
  mkdirSync("/run/claviger", { mode: 0o750 });
  chownSync("/run/claviger", user, user);
}
