// A real Prometheus on loopback, which scrapes what a test runs and evaluates rules.
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { request } from "undici";
import { stringify } from "yaml";
import { freePorts, type LabProcess, type ProcessGroup, until } from "./process-group.ts";

export type Alert = {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly state: "pending" | "firing";
};
export type PromSample = {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
};

export type Prometheus = {
  readonly url: string;
  readonly proc: LabProcess;
  /** What an expression gives now: a vector. @throws Error with its words where it does not parse */
  query(expr: string): Promise<readonly PromSample[]>;
  alerts(): Promise<readonly Alert[]>;
  /** From now on scrapes these. */
  readonly setTargets: (targets: Targets) => void;
};

/** URLs of metrics, by job. */
export type Targets = Readonly<Record<string, readonly string[]>>;

/**
 * Starts it, and waits until it answers.
 * @param rules files of rules
 * @param everyMs between two scrapes, and between two evaluations
 */
export async function startPrometheus({
  processes,
  dir,
  targets,
  rules,
  everyMs,
}: {
  readonly processes: ProcessGroup;
  readonly dir: string;
  readonly targets: Targets;
  readonly rules: readonly string[];
  readonly everyMs: number;
}): Promise<Prometheus> {
  const home = join(dir, "prometheus");
  mkdirSync(home, { recursive: true, mode: 0o700 });
  const interval = `${everyMs}ms`;
  const config = join(home, "prometheus.yaml");
  const list = join(home, "targets.json");
  // Moved there whole: it is read as soon as it changes.
  const setTargets = (next: Targets): void => {
    const groups = Object.entries(next).map(([job, urls]) => ({
      targets: urls.map((url) => new URL(url).host),
      labels: { job },
    }));
    writeFileSync(`${list}.new`, JSON.stringify(groups));
    renameSync(`${list}.new`, list);
  };
  setTargets(targets);
  const jobs = [{ job_name: "claviger", file_sd_configs: [{ files: [list] }] }];
  const global = { scrape_interval: interval, scrape_timeout: interval, evaluation_interval: interval };
  writeFileSync(config, stringify({ global, rule_files: rules, scrape_configs: jobs }));
  const [port = 0] = await freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  const proc = processes.start("prometheus", [
    "prometheus",
    `--config.file=${config}`,
    `--storage.tsdb.path=${join(home, "data")}`,
    `--web.listen-address=127.0.0.1:${port}`,
  ]);
  await until("Prometheus to be ready", proc, async () => {
    const reply = await request(`${url}/-/ready`).catch(() => undefined);
    await reply?.body.dump();
    return reply?.statusCode === 200 ? true : undefined;
  });
  const ask = async <T>(path: string): Promise<T> => {
    const { body } = await request(`${url}/api/v1/${path}`);
    const reply = (await body.json()) as { readonly status: string; readonly error?: string; readonly data: T };
    if (reply.status !== "success") throw new Error(`${path}: ${reply.error}`);
    return reply.data;
  };
  return {
    url,
    proc,
    setTargets,
    query: async (expr) =>
      (await ask<{ readonly result: readonly PromSample[] }>(`query?query=${encodeURIComponent(expr)}`)).result,
    alerts: async () => (await ask<{ readonly alerts: readonly Alert[] }>("alerts")).alerts,
  };
}
