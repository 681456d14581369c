// A small site with load, and a Prometheus that evaluates the shipped rules over it, with time sped up.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { callsOf } from "../../lab/fleet-call.ts";
import { kmsClient } from "../../lab/kms.ts";
import { type Lab, startLab } from "../../lab/lab.ts";
import { type LabProcess, readyLine, until } from "../../lab/process-group.ts";
import { type Prometheus, startPrometheus, type Targets } from "../../lab/prometheus.ts";
import { startShim } from "../../lab/fleet.ts";
import { fasterRules } from "./faster.ts";

/** An hour of a rule is a minute here. */
export const factor = 60;
const everyMs = 1000;
const mixin = join(import.meta.dirname, "..", "..", "..", "infra", "mixin");

/** Fires for lack of time alone: a head is signed once a minute, which is an hour to the faster rules. */
const left = /^ {6}- alert: ClavigerAuditHeadUnsigned\n(?: {8}.*\n)+/m;

export type World = {
  readonly lab: Lab;
  readonly prometheus: Prometheus;
  readonly targets: Targets;
  /** The alerts that fire now. */
  firing(): Promise<ReadonlySet<string>>;
  /** Waits until all of these fire at the same time or one after the other. @throws Error naming those that do not */
  untilFired(names: readonly string[], ms?: number): Promise<void>;
  /** One more shim of the first cluster, with load, which Prometheus scrapes as well. @param pki gives it its certificate */
  addShim(node: string, pki: Lab["pki"]): Promise<void>;
  /** Starts a killed part again. */
  restart(proc: LabProcess): Promise<void>;
  stop(): Promise<void>;
};

/** As a kube-apiserver that is busy: a Status, an Encrypt and some Decrypts each second, whatever comes of them. */
function startCalls(socket: string): () => void {
  const client = kmsClient(socket);
  let sealed: Awaited<ReturnType<typeof client.encrypt>> | undefined;
  const call = (work: Promise<unknown>): void => void work.catch(() => {});
  const round = (): void => {
    call(client.status(900));
    call(
      client.encrypt(Buffer.alloc(32, 1), 900).then((result) => {
        sealed ??= result;
      }),
    );
    if (sealed !== undefined) for (let i = 0; i < 4; i++) call(client.decrypt(sealed, 900));
  };
  const timer = setInterval(round, 1000);
  return () => {
    clearInterval(timer);
    client.close();
  };
}

export async function startWorld(dir: string): Promise<World> {
  const lab = await startLab({
    dir,
    gateways: 2,
    shims: 2,
    clusters: 2,
    fleet: true,
    shimExtra: { outage: { healthyFor: "10s", degradedFor: "1h" } },
  });
  return await watchSite(dir, lab);
}

/** Puts load on a lab, and a Prometheus over it. The lab is stopped with it. */
export async function watchSite(dir: string, lab: Lab): Promise<World> {
  const ask = await callsOf(lab.pki, "ada");
  const { fleet } = lab;
  const askFleet = (): void => void (fleet && ask(fleet.url, "ListClusters", {}).catch(() => {}));
  const asking = setInterval(askFleet, 1000);
  const calls = lab.shims.map(({ socket }) => startCalls(socket));
  const rules = ["recording.yaml", "alerts.yaml"].map((file) => {
    const path = join(dir, file);
    writeFileSync(path, fasterRules(readFileSync(join(mixin, file), "utf8").replace(left, ""), factor));
    return path;
  });
  const targets = {
    "claviger-gateway-admin": lab.gateways.map(({ metrics }) => metrics),
    "claviger-shim": lab.shims.map(({ metrics }) => metrics),
    "claviger-fleet-admin": fleet === undefined ? [] : [`${fleet.admin}/metrics`],
  };
  const prometheus = await startPrometheus({ processes: lab.processes, dir, targets, rules, everyMs });
  const firing = async (): Promise<ReadonlySet<string>> =>
    new Set(
      (await prometheus.alerts())
        .filter(({ state }) => state === "firing")
        .map(({ labels }) => labels["alertname"] ?? ""),
    );
  return {
    lab,
    prometheus,
    targets,
    firing,
    async untilFired(names, ms = 60_000) {
      const missing = new Set(names);
      const look = async (): Promise<true | undefined> => {
        for (const name of await firing()) missing.delete(name);
        return missing.size === 0 ? true : undefined;
      };
      await until("alerts", undefined, look, ms).catch((error: unknown) => {
        throw new Error(`${[...missing].join(", ")} did not fire`, { cause: error });
      });
    },
    async addShim(node, pki) {
      const gateways = lab.gateways.map(({ url }) => url);
      const shim = await startShim({ processes: lab.processes, dir, cluster: "cluster-1", node, pki, gateways });
      calls.push(startCalls(shim.socket));
      prometheus.setTargets({ ...targets, "claviger-shim": [...targets["claviger-shim"], shim.metrics] });
    },
    async restart(proc) {
      await readyLine(await lab.processes.restart(proc));
    },
    async stop() {
      clearInterval(asking);
      for (const end of calls) end();
      await lab.stop();
    },
  };
}
