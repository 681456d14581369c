// How often an idle cluster asks its gateway: what keeps a gateway that could scale to zero awake.
// `node test/bench/idle.ts [SECONDS]` One real kube-apiserver, nobody using it: once left alone,
// once asked for its readiness every second, as kubelet or a load balancer does.
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startLab } from "../lab/lab.ts";

const seconds = Number(process.argv[2] ?? 180);
const dir = await mkdtemp(join(tmpdir(), "claviger-"));
const lab = await startLab({ dir, kubernetes: true, redis: false });
try {
  const [api] = lab.kubernetes;
  const times = (): readonly number[] =>
    readFileSync(lab.gateways[0]?.audit ?? "", "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => Date.parse((JSON.parse(line) as { readonly time: string }).time));
  const measure = async (what: string, every: () => Promise<unknown>): Promise<void> => {
    const began = Date.now();
    for (const end = began + seconds * 1000; Date.now() < end; await sleep(1000)) await every();
    const asked = times().filter((at) => at >= began);
    const gaps = [began, ...asked, Date.now()].map((at, i, all) => at - (all[i - 1] ?? at));
    const perMinute = asked.length / (seconds / 60);
    console.log(
      `${what}: ${perMinute.toFixed(1)} requests a minute, longest pause ${(Math.max(...gaps) / 1000).toFixed(0)} s`,
    );
  };
  await measure("left alone", () => Promise.resolve());
  await measure("asked for readiness every second", async () => await api?.call("GET", "/readyz"));
} finally {
  await lab.stop();
  await rm(dir, { recursive: true, force: true });
}
