// The charts below infra/charts, and the real Helm that renders and installs them.
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { findBinary } from "../../parts/find.ts";

const charts = join(import.meta.dirname, "..", "..", "..", "infra", "charts");

export type ChartName = "claviger" | "claviger-shim";
export type Values = { readonly [name: string]: unknown };
export type Manifest = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: { readonly [name: string]: unknown };
};
export type Said = { readonly code: number; readonly stdout: string; readonly stderr: string };

export function chartDir(chart: ChartName): string {
  return join(charts, chart);
}

/** Runs a program to its end. Resolves whatever its status. */
export function run(file: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Said> {
  return new Promise((resolve) => {
    execFile(file, [...args], { env, maxBuffer: 2 ** 26 }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : typeof error.code === "number" ? error.code : 1, stdout, stderr }),
    );
  });
}

export type Helm = {
  /** Runs `helm COMMAND...`, with a file of the values where they are given. */
  helm(command: readonly string[], values?: Values): Promise<Said>;
  /** What a chart makes of the values, hooks included. @throws Error with what Helm says */
  render(chart: ChartName, values: Values, namespace?: string): Promise<readonly Manifest[]>;
  close(): void;
};

/** @param kubeconfig the text of one, for commands that talk to an API server */
export function openHelm(kubeconfig?: string): Helm {
  const dir = mkdtempSync(join(tmpdir(), "claviger-helm-"));
  const env = { HOME: dir, PATH: "", KUBECONFIG: join(dir, "kubeconfig"), HELM_DRIVER: "configmap" };
  writeFileSync(env.KUBECONFIG, kubeconfig ?? "", { mode: 0o600 });
  let count = 0;
  const helm: Helm["helm"] = (command, values) => {
    if (values === undefined) return run(findBinary("helm"), command, env);
    const file = join(dir, `values-${(count += 1)}.json`);
    writeFileSync(file, JSON.stringify(values));
    return run(findBinary("helm"), [...command, "--values", file], env);
  };
  return {
    helm,
    async render(chart, values, namespace = chart) {
      const { code, stdout, stderr } = await helm(["template", chart, chartDir(chart), "-n", namespace], values);
      if (code !== 0) throw new Error(stderr);
      return parseAllDocuments(stdout).flatMap((document) => (document.toJS() ?? []) as Manifest[]);
    },
    close: () => rmSync(dir, { recursive: true, force: true }),
  };
}
