// What is compared: Claviger as shipped, our direct plugin, and any other plugin that listens already.
// The first two have an OpenBao of their own each, set up alike.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Cgroup } from "../../lab/cgroup.ts";
import { startLab } from "../../lab/lab.ts";
import { startOpenBao } from "../../lab/openbao.ts";
import { createProcessGroup, type LabProcess, tailOf } from "../../lab/process-group.ts";
import { findBinary } from "../../parts/find.ts";
import { benchRequestsPerSecond } from "../calls.ts";
import { buildShipped } from "../shipped.ts";
import { restartTimed, type StartTimes } from "./start.ts";

export type Part = "plugin" | "shim" | "gateway" | "OpenBao";

export type Side = {
  readonly name: string;
  readonly dir: string;
  readonly socket: string;
  /** Process ids: whose CPU and memory are counted. */
  parts(): ReadonlyMap<Part, number>;
  /** Where OpenBao writes each request down; undefined where its log cannot be read. */
  readonly auditLog: string | undefined;
  /** The last lines that the plugin or shim has logged. */
  lastWords(): string;
  /** Starts what listens on the socket anew; undefined where it is not ours. */
  readonly restart: (() => Promise<StartTimes>) | undefined;
  stop(): Promise<void>;
};

/** Memory limits as infra/ sets them; undefined where this machine lets nobody set any. */
export type Limits = { readonly shim: Cgroup; readonly gateway: Cgroup };

/** One gateway and one shim, without Redis, with the intervals of infra/gateway/gateway.yaml. */
export async function startClaviger(dir: string, limits: Limits | undefined): Promise<Side> {
  const shipped = join(dir, "shipped");
  const programs = {
    gateway: buildShipped("claviger-gateway", shipped),
    shim: buildShipped("claviger-shim", shipped),
  };
  const lab = await startLab({
    dir: join(dir, "lab"),
    redis: false,
    requestsPerSecond: benchRequestsPerSecond,
    gatewayExtra: { keys: { refresh: "10s", canary: "1m" } },
    programs: {
      gateway: limits?.gateway.command(programs.gateway) ?? programs.gateway,
      shim: limits?.shim.command(programs.shim) ?? programs.shim,
    },
  });
  const { vault, processes } = lab;
  const [shim, gateway] = [lab.shims[0], lab.gateways[0]];
  if (vault === undefined || shim === undefined || gateway === undefined) throw new TypeError("an empty lab");
  let proc = shim.proc;
  return {
    name: "Claviger",
    dir,
    socket: shim.socket,
    parts: () =>
      new Map<Part, number>([
        ["shim", proc.pid],
        ["gateway", gateway.proc.pid],
        ["OpenBao", vault.proc().pid],
      ]),
    auditLog: vault.auditLog,
    lastWords: () => tailOf(proc),
    async restart() {
      const restarted = await restartTimed(processes, proc, shim.socket);
      proc = restarted.proc;
      return restarted.times;
    },
    stop: async () => await lab.stop(),
  };
}

const key = "direct";

export async function startDirect(dir: string): Promise<Side> {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const processes = createProcessGroup(dir);
  try {
    const bao = await startOpenBao(processes, dir);
    await bao.call("POST", "sys/mounts/transit", { type: "transit" });
    await bao.call("POST", `transit/keys/${key}`, { type: "aes256-gcm96" });
    const policy = [
      ...["encrypt", "decrypt"].map((path) => `path "transit/${path}/${key}" { capabilities = ["update"] }`),
      `path "transit/keys/${key}" { capabilities = ["read"] }`,
    ].join("\n");
    await bao.call("PUT", "sys/policies/acl/direct", { policy });
    const { auth } = await bao.call<{ auth: { client_token: string } }>("POST", "auth/token/create", {
      policies: ["direct"],
      period: "24h",
    });
    const token = join(dir, "token");
    writeFileSync(token, auth.client_token, { mode: 0o600 });
    const socket = join(dir, "kms.sock");
    const where = ["-socket", socket, "-vault", bao.addr, "-token-file", token, "-key", key];
    let proc: LabProcess = processes.start("direct-plugin", [findBinary("direct-plugin"), ...where]);
    const restart = async (): Promise<StartTimes> => {
      const restarted = await restartTimed(processes, proc, socket);
      proc = restarted.proc;
      return restarted.times;
    };
    await restart();
    return {
      name: "direct",
      dir,
      socket,
      parts: () =>
        new Map<Part, number>([
          ["plugin", proc.pid],
          ["OpenBao", bao.proc().pid],
        ]),
      auditLog: bao.auditLog,
      lastWords: () => tailOf(proc),
      restart,
      stop: async () => await processes.stopAll(),
    };
  } catch (error) {
    await processes.stopAll();
    throw error;
  }
}

/** A plugin that listens already. @param pid whose CPU and memory are counted, where it is known */
export function otherSide(dir: string, socket: string, pid: number | undefined): Side {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  return {
    name: "other",
    dir,
    socket,
    parts: () => new Map<Part, number>(pid === undefined ? [] : [["plugin", pid]]),
    auditLog: undefined,
    lastWords: () => "",
    restart: undefined,
    stop: async () => {},
  };
}
