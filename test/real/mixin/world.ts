// A small site with load, and a Prometheus that evaluates the shipped rules over it, with time sped up.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { callsOf } from "../../lab/fleet-call.ts";
import { kmsClient } from "../../lab/kms.ts";
import { type Lab, startLab } from "../../lab/lab.ts";
import { type LabProcess, readyLine, until } from "../../lab/process-group.ts";
import { type Prometheus, startPrometheus, type Targets } from "../../lab/prometheus.ts";
import { type LabGateway, startGateway, startShim } from "../../lab/fleet.ts";
import { fasterRules } from "./faster.ts";

/** An hour of a rule is a minute here; but a head is signed once a minute, which would be an hour to such a rule. */
const factorOf = (rule: string): number => (rule.includes("alert: ClavigerAuditHeadUnsigned") ? 6 : 60);
const everyMs = 1000;
const mixin = join(import.meta.dirname, "..", "..", "..", "infra", "mixin");

type AddedShim = {
  /** Gives it its certificate. */
  readonly pki?: Lab["pki"];
  readonly cluster?: string;
  readonly gateways?: readonly string[];
};

export type World = {
  readonly lab: Lab;
  readonly prometheus: Prometheus;
  readonly targets: Targets;
  /** The alerts that fire now. */
  firing(): Promise<ReadonlySet<string>>;
  /** Waits until all of these fire at the same time or one after the other. @throws Error naming those that do not */
  untilFired(names: readonly string[], ms?: number): Promise<void>;
  /** One more shim, with load, which Prometheus scrapes as well; of the first cluster and at the lab's gateways, if not said. */
  addShim(node: string, options?: AddedShim): Promise<void>;
  /** One more gateway, which Prometheus scrapes as well. @param backend settings of its backend to add or replace */
  addGateway(name: string, backend: Readonly<Record<string, unknown>>): Promise<LabGateway>;
  /** Prometheus scrapes no longer what was added. */
  readonly forgetAdded: () => void;
  /** Starts a killed part again. */
  restart(proc: LabProcess): Promise<void>;
  /** Done when everything else has stopped. */
  readonly onStop: (end: () => Promise<void>) => void;
  stop(): Promise<void>;
};

/** As a kube-apiserver that is busy: a Status, an Encrypt and some Decrypts each second, whatever comes of them. */
function startCalls(socket: string): () => void {
  const client = kmsClient(socket);
  let sealed: Awaited<ReturnType<typeof client.encrypt>> | undefined;
  const call = (work: Promise<unknown>): void => void work.catch(() => {});
  const round = (): void => {
    call(client.status());
    call(
      client.encrypt(Buffer.alloc(32, 1)).then((result) => {
        sealed ??= result;
      }),
    );
    if (sealed !== undefined) for (let i = 0; i < 4; i++) call(client.decrypt(sealed));
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
    requestsPerSecond: 100_000,
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
    writeFileSync(path, fasterRules(readFileSync(join(mixin, file), "utf8"), factorOf));
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
  const ends: (() => Promise<void>)[] = [];
  let scraped: typeof targets = targets;
  const scrape = (next: typeof targets): void => {
    scraped = next;
    prometheus.setTargets(scraped);
  };
  const scrapeToo = (job: keyof typeof targets, url: string): void =>
    scrape({ ...scraped, [job]: [...scraped[job], url] });
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
    async addShim(node, options) {
      const gateways = lab.gateways.map(({ url }) => url);
      const common = { processes: lab.processes, dir, cluster: "cluster-1", node, pki: lab.pki, gateways };
      const shim = await startShim({ ...common, ...options });
      calls.push(startCalls(shim.socket));
      scrapeToo("claviger-shim", shim.metrics);
    },
    async addGateway(name, settings) {
      const { processes, pki, registry, vault, redis } = lab;
      assert.ok(vault !== undefined);
      const approle = {
        roleIdFile: join(dir, "gateway-1.role-id"),
        secretIdFile: join(dir, "gateway-1.secret-id"),
      };
      const options = { processes, dir, name, pki, registry, vault: { addresses: [vault.addr], approle, settings } };
      const gateway = await startGateway({ ...options, ...(redis !== undefined && { redis }) });
      scrapeToo("claviger-gateway-admin", gateway.metrics);
      return gateway;
    },
    forgetAdded: () => scrape(targets),
    async restart(proc) {
      await readyLine(await lab.processes.restart(proc));
    },
    onStop: (end) => void ends.push(end),
    async stop() {
      clearInterval(asking);
      for (const end of calls) end();
      await lab.stop();
      for (const end of ends) await end();
    },
  };
}
