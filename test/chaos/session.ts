// A whole run: the site, the load, one fault after the other, and at the end once more everything that was
// given out.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Fault, Need } from "./fault.ts";
import { type Load, startLoad } from "./load.ts";
import { onLoopback, startNetwork } from "./network.ts";
import type { Result } from "./report.ts";
import { type Outcome, runFault } from "./run.ts";
import { machines, type Site, startSite } from "./site.ts";

export type SessionOptions = {
  readonly faults: readonly Fault[];
  readonly holdMs: number;
  /** What this machine has. */
  readonly has: ReadonlySet<Need>;
  readonly say: (text: string) => void;
  readonly signal: AbortSignal;
  /** Whether the folder with the logs stays. */
  readonly isKept: boolean;
};

export type Session = {
  readonly results: readonly Result[];
  /** Of everything that was given out in all the run. */
  readonly lost: number;
  /** What ended the run early. */
  readonly error: Error | undefined;
};

const whyNot: Readonly<Record<Need, string>> = {
  isolation: "network and mount namespaces need root",
  faketime: "libfaketime (Debian's faketime) is not installed",
  earlier: "the commit of 0.1.0 is not in this clone",
};

/** The load before the first fault, milliseconds. */
const warmUpMs = 3000;

function lineOf({ fault, requests, failed, unexcused, wrong, lost, slowest, recovery, reasons }: Outcome): string {
  const most = [...reasons].map(([reason, count]) => `\n      ${count} × ${reason}`).join("");
  return `${fault.id}: ${requests} requests, ${failed} failed (${unexcused} that must not), ${wrong} wrong, ${lost} lost, slowest ${Math.round(slowest.kms)} ms, recovery ${Math.round(recovery)} ms${most}`;
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

async function runAll(site: Site, load: Load, options: SessionOptions, results: Result[]): Promise<number> {
  const { faults, holdMs, has, say, signal } = options;
  await sleep(warmUpMs);
  for (const fault of faults) {
    signal.throwIfAborted();
    const missing = fault.needs?.find((need) => !has.has(need));
    if (missing !== undefined) {
      results.push({ fault, why: whyNot[missing] });
      continue;
    }
    try {
      const outcome = await runFault(fault, site, load, holdMs);
      say(lineOf(outcome));
      results.push(outcome);
    } catch (error) {
      // The next one begins when all is well again, or ends the run.
      results.push({ fault, error: asError(error) });
      say(`${fault.id}: ${asError(error).message}`);
    }
  }
  say("once more everything that was given out, with a kube-apiserver that has to unwrap all seeds anew");
  await site.api.restart();
  return await load.lost("all");
}

/** @throws Error when the site does not start; what ends the run later is in the result */
export async function runSession(options: SessionOptions): Promise<Session> {
  const { has, say, signal, isKept } = options;
  const dir = mkdtempSync(join(tmpdir(), "claviger-"));
  const network = has.has("isolation") ? await startNetwork(machines) : onLoopback;
  const results: Result[] = [];
  let site: Site | undefined;
  let load: Load | undefined;
  try {
    site = await startSite({ dir, network, isIsolated: has.has("isolation"), say });
    signal.throwIfAborted();
    for (const { prepare, needs } of options.faults)
      if (needs?.every((need) => has.has(need)) !== false) prepare?.(site);
    load = startLoad(site);
    const lost = await runAll(site, load, options, results);
    return { results, lost, error: undefined };
  } catch (error) {
    if (site === undefined) throw error;
    return { results, lost: 0, error: asError(error) };
  } finally {
    await load?.stop();
    await site?.stop();
    network.close();
    if (isKept) say(`logs are in ${dir}/logs`);
    else rmSync(dir, { recursive: true, force: true });
  }
}
