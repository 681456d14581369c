// All faults, in the order in which they are tried, and the few of a short run.
import type { Fault } from "./fault.ts";
import { certificateFaults } from "./faults/certificates.ts";
import { clockFaults } from "./faults/clocks.ts";
import { diskFaults } from "./faults/disks.ts";
import { networkFaults } from "./faults/network.ts";
import { processFaults } from "./faults/processes.ts";
import { sentinelFaults } from "./faults/sentinel.ts";
import { versionFaults } from "./faults/versions.ts";

export const faults: readonly Fault[] = [
  ...processFaults,
  ...sentinelFaults,
  ...networkFaults,
  ...diskFaults,
  ...clockFaults,
  ...certificateFaults,
  ...versionFaults,
];

/** One of each kind that needs nothing but processes: what everybody can run. */
export const shortIds: readonly string[] = [
  "kill-gateway-used",
  "stop-openbao-leader",
  "kill-redis",
  "kill-shim-1",
  "kill-etcd",
  "roll-gateways",
];

/**
 * The faults whose ids contain one of the words, or all.
 * @throws Error for a word that none contains
 */
export function chosen(words: readonly string[]): readonly Fault[] {
  const unknown = words.find((word) => !faults.some(({ id }) => id.includes(word)));
  if (unknown !== undefined)
    throw new Error(`no fault is called ${unknown}; there are ${faults.map(({ id }) => id).join(", ")}`);
  return words.length === 0 ? faults : faults.filter(({ id }) => words.some((word) => id.includes(word)));
}
