// A site from nothing, as an operator makes one: a Vault that `vault init` has set up for gateways and for the fleet
// service, Redis, two gateways on a registry in Vault, and the fleet service. Nothing is written by hand but what a
// site writes: two configurations.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { appendFileSync, copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { stringify } from "yaml";
import {
  createPki,
  type LabGateway,
  type Pki,
  startGateway,
  trustDomain,
  writeGatewayConfig,
} from "../../lab/fleet.ts";
import { type LabFleetService, startFleetService } from "../../lab/fleet-service.ts";
import { type AppRoleFiles, integrityKey, type OpenBao, startOpenBao, transitMount } from "../../lab/openbao.ts";
import type { ProcessGroup } from "../../lab/process-group.ts";
import { type RedisServer, startRedis } from "../../lab/redis.ts";
import { claviger, type CliResult } from "../cli/claviger.ts";

const shimMain = join(import.meta.dirname, "..", "..", "..", "shim", "src", "main.ts");

export type Site = {
  readonly bao: OpenBao;
  readonly redis: RedisServer;
  readonly pki: Pki;
  readonly gateways: readonly LabGateway[];
  /** The cluster that it serves. */
  readonly cluster: string;
  readonly fleet: () => LabFleetService;
  /** Starts the fleet service, anew where it ran. @param lifetime of the certificates that it has signed */
  startFleet(lifetime: string): Promise<void>;
  /** The command line, with a token for Vault. */
  cli(...args: readonly string[]): Promise<CliResult>;
  /** Makes a token and enrolls with it, as the node would. @returns settings of the shim */
  enroll(node: string): Promise<{ readonly settings: Readonly<Record<string, unknown>>; readonly pair: string }>;
};

async function runShim(...args: readonly string[]): Promise<CliResult> {
  const child = spawn(process.execPath, [shimMain, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const closed = new Promise<number | null>((resolve) => child.once("close", resolve));
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { status: await closed, out, err };
}

/** What the printed commands fetch: the two files of an AppRole. */
async function credentialsOf(bao: OpenBao, role: string, files: AppRoleFiles): Promise<void> {
  const path = `auth/approle/role/${role}`;
  const { data } = await bao.call<{ data: { role_id: string } }>("GET", `${path}/role-id`);
  const made = await bao.call<{ data: { secret_id: string } }>("POST", `${path}/secret-id`, {});
  writeFileSync(files.roleIdFile, data.role_id, { mode: 0o600 });
  writeFileSync(files.secretIdFile, made.data.secret_id, { mode: 0o600 });
}

/** Sets up and starts all of it. */
export async function startSite(processes: ProcessGroup, dir: string): Promise<Site> {
  const cluster = "prod-eu";
  const [bao, redis, own] = await Promise.all([
    startOpenBao(processes, dir),
    startRedis(processes, dir),
    createPki(dir),
  ]);
  // Operators and gateways are signed by the lab's authority, nodes by Vault's: trusted are both.
  const bundle = join(dir, "trusted.crt");
  copyFileSync(own.ca, bundle);
  const pki: Pki = { ...own, ca: bundle };
  const filesOf = (name: string): AppRoleFiles => ({
    roleIdFile: join(dir, `${name}.role-id`),
    secretIdFile: join(dir, `${name}.secret-id`),
  });
  const registry = { kind: "vault", backend: "main", mount: "kv", path: "registry" };
  const cli = (...args: readonly string[]): Promise<CliResult> =>
    claviger(args, { VAULT_TOKEN: readFileSync(bao.tokenFile, "utf8") });
  const must = async (...args: readonly string[]): Promise<CliResult> => {
    const ran = await cli(...args);
    assert.equal(ran.status, 0, `claviger ${args.join(" ")}\n${ran.out}${ran.err}`);
    return ran;
  };

  const vault = { addresses: [bao.addr], approle: filesOf("claviger-gateway") };
  const optionsOf = (name: string) => ({ processes, dir, name, pki, registry: "", vault, redis, extra: { registry } });
  const { config } = await writeGatewayConfig(optionsOf("gateway-1"));
  const fleetSettings = {
    trustDomain,
    registry,
    backends: {
      main: { kind: "vault", addresses: [bao.addr], auth: { kind: "approle", ...filesOf("claviger-fleet") } },
    },
    tokens: { kind: "vault", backend: "main", mount: "kv" },
    approvals: { methods: ["remove-cluster"], store: { kind: "vault", backend: "main", mount: "kv" } },
    redis: { kind: "standalone", node: `${redis.host}:${redis.port}`, passwordFile: redis.passwordFile },
    integrity: { backend: "main", mount: transitMount, key: integrityKey, version: 1 },
    certificates: { ca: { kind: "vault", backend: "main", mount: "pki", role: "claviger-node" }, trustBundle: own.ca },
  };
  const fleetConfig = join(dir, "fleet.yaml");
  writeFileSync(fleetConfig, stringify(fleetSettings));

  await must("vault", "init", "--config", config);
  await must("vault", "init", "--for", "fleet", "--config", fleetConfig, "--pki-root");
  for (const role of ["claviger-gateway", "claviger-fleet"]) await credentialsOf(bao, role, filesOf(role));
  const { data } = await bao.call<{ data: { certificate: string } }>("GET", "pki/cert/ca");
  appendFileSync(bundle, `${data.certificate.trim()}\n`);

  // The cluster comes through the service, by an operator of it; its key, and what gateways and service may do with
  // it, by whoever may change policies in Vault.
  const first = await startFleetService({
    processes,
    dir,
    pki,
    settings: { ...fleetSettings, gateways: ["https://gateway.test:8443"] },
  });
  const added = ["--backend", "main", "--mount", "transit", "--reason", "the first cluster"];
  // There `--key` is the one in Transit.
  const olga = (await first.options("olga")).map((text) => (text === "--key" ? "--cert-key" : text));
  await must("cluster", "add", cluster, ...added, ...olga);
  await must("vault", "init", "--config", config);
  await must("vault", "init", "--for", "fleet", "--config", fleetConfig);
  await processes.stop(first.proc);

  const gateways = await Promise.all(["gateway-1", "gateway-2"].map((name) => startGateway(optionsOf(name))));
  let fleet: LabFleetService | undefined;
  const running = (): LabFleetService => {
    assert.ok(fleet !== undefined, "the fleet service is not started");
    return fleet;
  };
  const startFleet = async (lifetime: string): Promise<void> => {
    if (fleet !== undefined) await processes.stop(fleet.proc);
    const certificates = { ...fleetSettings.certificates, lifetime };
    const settings = { ...fleetSettings, certificates, gateways: gateways.map(({ url }) => url) };
    fleet = await startFleetService({ processes, dir, pki, settings });
  };
  let made = 0;

  return {
    bao,
    redis,
    pki,
    gateways,
    cluster,
    fleet: running,
    startFleet,
    cli,
    async enroll(node) {
      const reason = ["--reason", "a node of the site"];
      const { out, err } = await must(
        "node",
        "token",
        `${cluster}/${node}`,
        ...reason,
        ...(await running().options("olga")),
      );
      const file = join(dir, `token-${(made += 1)}`);
      writeFileSync(file, out, { mode: 0o600 });
      const pin = /--ca-pin (sha256:[0-9a-f]{64})/.exec(err)?.[1] ?? "";
      const home = join(dir, `node-${made}`);
      const where = ["--url", running().url, "--token-file", file, "--ca-pin", pin, "--dir", home];
      const enrolled = await runShim("enroll", ...where);
      assert.equal(enrolled.status, 0, enrolled.err);
      for (const { url } of gateways) assert.ok(enrolled.out.includes(url), enrolled.out);
      const pair = join(home, "node.pem");
      const settings = { tls: { cert: pair, key: pair, ca: join(home, "ca.pem") }, renewal: { url: running().url } };
      return { settings, pair };
    },
  };
}
