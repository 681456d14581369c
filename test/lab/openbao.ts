// A real OpenBao of the lab's own: one node, raft storage, a file audit device; set up for the
// gateways with the least policy that works.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { request } from "undici";
import { findBinary } from "../parts/find.ts";
import { freePorts, type ProcessGroup, type LabProcess, until } from "./process-group.ts";

export type OpenBao = {
  readonly addr: string;
  readonly tokenFile: string;
  readonly auditLog: string;
  /** The running process; another one after `restart`. */
  readonly proc: () => LabProcess;
  /**
   * One call of the HTTP API with the root token.
   * @throws Error on any status but the allowed ones
   */
  call<T = unknown>(method: string, path: string, body?: unknown, allowed?: readonly number[]): Promise<T>;
  /** Starts it again on the same data and unseals it. */
  restart(): Promise<void>;
  unseal(): Promise<void>;
};

/**
 * Starts, initialises, unseals. The files of `dir` hold its token and unseal key, mode 0600: a lab,
 * not a vault.
 * @param extraHcl settings of the server to add, e.g. a second listener
 */
export async function startOpenBao(processes: ProcessGroup, dir: string, extraHcl = ""): Promise<OpenBao> {
  const [port = 0, clusterPort = 0] = await freePorts(2);
  const addr = `http://127.0.0.1:${port}`;
  const home = join(dir, "openbao");
  mkdirSync(join(home, "raft"), { recursive: true, mode: 0o700 });
  const auditLog = join(home, "audit.log");
  const tokenFile = join(home, "root.token");
  const config = `
ui = false
disable_mlock = true
api_addr = "${addr}"
cluster_addr = "http://127.0.0.1:${clusterPort}"
storage "raft" { path = "${join(home, "raft")}"  node_id = "lab"  performance_multiplier = 1 }
listener "tcp" { address = "127.0.0.1:${port}"  cluster_address = "127.0.0.1:${clusterPort}"  tls_disable = true }
audit "file" "file" { options { file_path = "${auditLog}" } }
${extraHcl}
`;
  writeFileSync(join(home, "openbao.hcl"), config, { mode: 0o600 });
  const argv = [findBinary("bao"), "server", `-config=${join(home, "openbao.hcl")}`];
  let proc = processes.start("openbao", argv);
  let unsealKey = "";

  const raw = async (method: string, path: string, body?: unknown, token?: string) => {
    const reply = await request(`${addr}/v1/${path}`, {
      method: method as "GET",
      headers: { "content-type": "application/json", ...(token !== undefined && { "x-vault-token": token }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await reply.body.text();
    return { status: reply.statusCode, json: (text === "" ? undefined : JSON.parse(text)) as unknown };
  };
  const isUp = () =>
    until("OpenBao to answer", proc, async () => await raw("GET", "sys/seal-status").catch(() => undefined));
  const unseal = async (): Promise<void> => {
    await raw("PUT", "sys/unseal", { key: unsealKey });
    await until("OpenBao to be active", proc, async () =>
      (await raw("GET", "sys/health").catch(() => undefined))?.status === 200 ? true : undefined,
    );
  };

  await isUp();
  const { json } = await raw("PUT", "sys/init", { secret_shares: 1, secret_threshold: 1 });
  const init = json as { keys_base64: string[]; root_token: string };
  unsealKey = init.keys_base64[0] ?? "";
  writeFileSync(tokenFile, init.root_token, { mode: 0o600 });
  writeFileSync(join(home, "unseal.key"), unsealKey, { mode: 0o600 });
  await unseal();

  return {
    addr,
    tokenFile,
    auditLog,
    proc: () => proc,
    async call<T>(method: string, path: string, body?: unknown, allowed: readonly number[] = [200, 204]) {
      let reply = await raw(method, path, body, readFileSync(tokenFile, "utf8"));
      // Two writes to one key at the same moment, ours and a gateway's: OpenBao lets one of them
      // try again.
      for (
        let more = 5;
        more > 0 && reply.status === 500 && JSON.stringify(reply.json).includes("transaction commit failed");
        more--
      )
        reply = await raw(method, path, body, readFileSync(tokenFile, "utf8"));
      const { status, json: answer } = reply;
      if (!allowed.includes(status))
        throw new Error(`OpenBao answered ${status} to ${method} ${path}: ${JSON.stringify(answer)}`);
      return answer as T;
    },
    async restart() {
      proc = await processes.restart(proc);
      await isUp();
      await unseal();
    },
    unseal,
  };
}

export const transitMount = "transit";
export const integrityKey = "claviger-integrity";

/**
 * What a gateway may do with these keys: use them, read them, make a new version, promote it.
 * Nothing else.
 */
export function gatewayPolicy(keys: readonly string[]): string {
  return [
    ...keys.flatMap((key) => [
      `path "${transitMount}/encrypt/${key}" { capabilities = ["update"] }`,
      `path "${transitMount}/decrypt/${key}" { capabilities = ["update"] }`,
      `path "${transitMount}/keys/${key}" { capabilities = ["read"] }`,
      `path "${transitMount}/keys/${key}/rotate" { capabilities = ["update"] }`,
      `path "${transitMount}/keys/${key}/config" { capabilities = ["update"]  allowed_parameters = { "min_encryption_version" = [] } }`,
    ]),
    `path "${transitMount}/hmac/${integrityKey}/sha2-256" { capabilities = ["update"] }`,
  ].join("\n");
}

/** AppRole credentials of one gateway, as files. */
export type AppRoleFiles = { readonly roleIdFile: string; readonly secretIdFile: string };

/**
 * Mount, keys, policy and an AppRole with short token lives; credentials for each gateway in `dir`.
 */
export async function setUpTransit(
  bao: Pick<OpenBao, "call">,
  keys: readonly string[],
  gateways: readonly string[],
  dir: string,
): Promise<ReadonlyMap<string, AppRoleFiles>> {
  await bao.call("POST", `sys/mounts/${transitMount}`, { type: "transit" });
  for (const key of [...keys, integrityKey])
    await bao.call("POST", `${transitMount}/keys/${key}`, { type: "aes256-gcm96" });
  await bao.call("PUT", "sys/policies/acl/claviger-gateway", { policy: gatewayPolicy(keys) });
  await bao.call("POST", "sys/auth/approle", { type: "approle" });
  await bao.call("POST", "auth/approle/role/claviger-gateway", {
    token_policies: ["claviger-gateway"],
    token_ttl: "5m",
    token_max_ttl: "30m",
    token_no_default_policy: false,
  });
  const roleId = (await bao.call<{ data: { role_id: string } }>("GET", "auth/approle/role/claviger-gateway/role-id"))
    .data.role_id;
  const files = new Map<string, AppRoleFiles>();
  for (const gateway of gateways) {
    const secret = await bao.call<{ data: { secret_id: string } }>(
      "POST",
      "auth/approle/role/claviger-gateway/secret-id",
      {},
    );
    const own = { roleIdFile: join(dir, `${gateway}.role-id`), secretIdFile: join(dir, `${gateway}.secret-id`) };
    writeFileSync(own.roleIdFile, roleId, { mode: 0o600 });
    writeFileSync(own.secretIdFile, secret.data.secret_id, { mode: 0o600 });
    files.set(gateway, own);
  }
  return files;
}
