// Real shims beside the simulated ones, as the image has them, each with a caller of its own on its socket.
// A shim is started again while its caller rests: whoever asks an absent socket measures its absence.
import { kmsClient } from "../../lab/kms.ts";
import { startShim } from "../../lab/fleet.ts";
import { newTally, type Tally } from "../../lab/load.ts";
import { type LabProcess, readyLine } from "../../lab/process-group.ts";
import { startShimLoad } from "../../lab/shim-load.ts";
import { buildShipped } from "../shipped.ts";
import type { World } from "./world.ts";
import { join } from "node:path";

export type SoakShim = {
  readonly name: string;
  /** The running process; another one after `restart`. */
  readonly proc: () => LabProcess;
  restart(): Promise<void>;
  /** Ends the calls. All that became of them. */
  stop(): Promise<Tally>;
};

/** One shim of a cluster of the world, with so many round trips a second through it. */
export async function startSoakShim(world: World, cluster: string, perSecond: number): Promise<SoakShim> {
  const { processes, dir, pki, gateways } = world;
  const program = buildShipped("claviger-shim", join(dir, `shipped-${cluster}`));
  const urls = gateways.map(({ url }) => url);
  const shim = await startShim({ processes, dir, cluster, node: "node-999", pki, gateways: urls, program });
  let { proc } = shim;
  const total = newTally();
  const begin = () => {
    const client = kmsClient(shim.socket);
    return { client, load: startShimLoad([client], perSecond) };
  };
  let running = begin();
  const end = async (): Promise<void> => {
    await running.load.stop();
    const { ok, failed } = running.load.take();
    running.client.close();
    total.ok += ok;
    for (const [reason, count] of failed) total.failed.set(reason, (total.failed.get(reason) ?? 0) + count);
  };
  return {
    name: `shim of ${cluster}`,
    proc: () => proc,
    async restart() {
      await end();
      proc = await processes.restart(proc);
      await readyLine(proc);
      running = begin();
    },
    async stop() {
      await end();
      return total;
    },
  };
}
