// What the reader of docs/setup.md has before the first step: an OpenBao with TLS and a token for it, a
// Redis, a cluster with an etcd, programs on the PATH. Nothing of Claviger.
import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createCa, issueGateway } from "@claviger/gateway-core/src/pki/authority.ts";
import { writePem } from "@claviger/gateway-core/src/pki/files.ts";
import { kubeconfig } from "../../lab/kubeconfig.ts";
import { type ApiServer, type Etcd, startApiServer, startEtcd } from "../../lab/kubernetes.ts";
import { type OpenBao, startOpenBao } from "../../lab/openbao.ts";
import { freePorts, type ProcessGroup } from "../../lab/process-group.ts";
import { startRedis } from "../../lab/redis.ts";
import { findBinary } from "../../parts/find.ts";
import type { Reader } from "./follower.ts";

const root = join(import.meta.dirname, "..", "..", "..");

export type Site = {
  readonly etcd: Etcd;
  readonly api: ApiServer;
  readonly bao: OpenBao;
  readonly reader: Reader;
};

/** An OpenBao with a TLS listener, and the CA of its certificate. */
export async function startTlsOpenBao(
  processes: ProcessGroup,
  dir: string,
  port: number,
): Promise<{ bao: OpenBao; ca: string }> {
  const authority = await createCa({ trustDomain: "vault.example" });
  const pair = await issueGateway({ ca: authority, dnsNames: ["localhost"], ips: ["127.0.0.1"] });
  const { cert, key } = await writePem({ dir, name: "vault", pair });
  const ca = join(dir, "vault-ca.crt");
  writeFileSync(ca, authority.cert);
  const listener = `listener "tcp" { address = "127.0.0.1:${port}"  tls_cert_file = "${cert}"  tls_key_file = "${key}" }`;
  return { bao: await startOpenBao(processes, dir, listener), ca };
}

/**
 * A home directory with a token and a kubeconfig, and the programs that a reader has on the PATH.
 * @returns the environment of the reader's shell
 */
export function prepareReader(
  dir: string,
  bao: OpenBao,
  api: ApiServer,
): { readonly HOME: string; readonly PATH: string; readonly LANG: string } {
  const [home, bin] = [join(dir, "home"), join(dir, "bin")];
  for (const path of [home, bin]) mkdirSync(path);
  copyFileSync(bao.tokenFile, join(home, ".vault-token"));
  symlinkSync(findBinary("bao"), join(bin, "vault"));
  symlinkSync(findBinary("kubectl"), join(bin, "kubectl"));
  writeFileSync(join(home, "kubeconfig"), kubeconfig(api), { mode: 0o600 });
  return { HOME: home, PATH: [bin, dirname(process.execPath), "/usr/bin", "/bin"].join(":"), LANG: "C.UTF-8" };
}

/** @param dir for what is not Claviger's */
export async function startSite(processes: ProcessGroup, dir: string): Promise<Site> {
  const [vaultPort = 0, ...ports] = await freePorts(8);
  const [{ bao, ca }, redis, etcd] = await Promise.all([
    startTlsOpenBao(processes, dir, vaultPort),
    startRedis(processes, dir),
    startEtcd(processes, dir),
  ]);
  const api = await startApiServer({ processes, dir, name: "kube-apiserver", etcd });
  await api.waitReady();
  const env = prepareReader(dir, bao, api);
  const home = env.HOME;
  const names = [
    "GATEWAY_A_PORT",
    "GATEWAY_A_ADMIN",
    "GATEWAY_B_PORT",
    "GATEWAY_B_ADMIN",
    "SHIM_EU_HEALTH",
    "SHIM_US_HEALTH",
  ];
  return {
    etcd,
    api,
    bao,
    reader: {
      values: {
        CLAVIGER: root,
        VAULT_ADDR: `https://127.0.0.1:${vaultPort}`,
        VAULT_CACERT: ca,
        REDIS: `127.0.0.1:${redis.port}`,
        REDIS_PASSWORD_FILE: redis.passwordFile,
        KUBECONFIG: join(home, "kubeconfig"),
        KUBE_APISERVER: api.proc().argv.join(" "),
        ETCD: etcd.url,
        QUIET: "2s",
        ...Object.fromEntries(names.map((name, i) => [name, String(ports[i])])),
      },
      env,
      machines: { "kube-apiserver": api.proc() },
    },
  };
}
