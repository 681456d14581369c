// What a run has shown, as a table in Markdown, and whether that is good.
import { shown, tableOf } from "../bench/fleet/figures.ts";
import { perSecond, stormSize } from "./load.ts";
import type { Fault } from "./fault.ts";
import type { Outcome } from "./run.ts";

/** A fault that was not tried, and why. */
export type Untried = { readonly fault: Fault; readonly why: string };
/** A fault whose course ended by an error: what was not seen to come back, or could not be caused. */
export type Broken = { readonly fault: Fault; readonly error: Error };
export type Result = Outcome | Untried | Broken;

const heads = [
  "fault",
  "what is left",
  "requests",
  "failed",
  "wrong",
  "lost",
  "slowest KMS call, ms",
  "slowest Secret, ms",
  "recovery, s",
  "rotation seen, s",
  "note",
];

function rowOf(result: Result): readonly string[] {
  const { name, left, note = "" } = result.fault;
  if ("error" in result)
    return [name, left, ...heads.slice(3).map(() => "–"), `**${result.error.message.split("\n")[0] ?? ""}**`];
  if ("why" in result) return [name, left, ...heads.slice(3).map(() => "–"), `not tried: ${result.why}`];
  const { requests, failed, unexcused, wrong, lost, slowest, recovery, rotation } = result;
  return [
    name,
    left,
    shown(requests),
    unexcused > 0 ? `${failed} (**${unexcused}** that must not)` : String(failed),
    String(wrong),
    String(lost),
    shown(slowest.kms),
    shown(slowest.secrets),
    shown(recovery / 1000, 1),
    shown(rotation / 1000, 1),
    note,
  ];
}

/** @returns what is not as it must be; empty when all is */
export function problemsOf(results: readonly Result[]): readonly string[] {
  return results.flatMap((result) => {
    if ("why" in result) return [];
    if ("error" in result) return [`${result.fault.id}: ${result.error.stack ?? result.error.message}`];
    const { fault, requests, unexcused, wrong, lost } = result;
    return [
      ...(requests === 0 ? [`${fault.id}: no request was made`] : []),
      ...(unexcused > 0 ? [`${fault.id}: ${unexcused} failed with a replica of everything left`] : []),
      ...(wrong > 0 ? [`${fault.id}: ${wrong} wrong`] : []),
      ...(lost > 0 ? [`${fault.id}: ${lost} lost`] : []),
    ];
  });
}

export function formatReport(results: readonly Result[]): string {
  return tableOf(heads, results.map(rowOf));
}

/**
 * docs/chaos.md: the rows of a run, in the order of the faults, beside those that an earlier run wrote there.
 * @param all the faults that there are; what is none of them goes
 */
export function pageOf(results: readonly Result[], all: readonly Fault[], lost: number, earlier = ""): string {
  const rows = new Map([
    ...earlier
      .split("\n")
      .filter((line) => line.startsWith("| "))
      .map((line) => line.slice(2, -2).split(" | "))
      .map((row) => [row[0] ?? "", row] as const),
    ...results.map((result) => [result.fault.name, rowOf(result)] as const),
  ]);
  const table = tableOf(
    heads,
    all.flatMap(({ name }) => [rows.get(name) ?? []].filter((row) => row.length > 0)),
  );
  return `# Chaos

<!-- Written by \`npm run chaos -- --write\` from a run. Edit test/chaos, then run it. -->

Faults under steady load, on real parts: an OpenBao of three nodes (raft), Redis, two gateways, three nodes of one cluster with a shim each, etcd and a kube-apiserver that encrypts through the first shim. Gateways and shims are the shipped bundles.
Through every shim go Status, Encrypt and Decrypt with the deadline of 3 s that kube-apiserver has, ${perSecond.shim} a second, and every ${1 / perSecond.storms} s a storm of ${stormSize} Decrypts at once through one of them; through the kube-apiserver ${perSecond.secrets} Secrets a second are written and read. In the middle of each fault the key is rotated (\`rotation: auto\`).

* **failed**: calls that ended with an error. Where a replica of everything is left for a stream (a node's socket, the API), none may; the note says where there is none, and why calls fail there.
* **wrong**: a plaintext that is not the one that was put in, or a key_id that came back after a shim had shown a newer one.
* **lost**: a ciphertext or Secret that was given out in the row and does not open after it. At the end of each run everything that was ever given out is opened once more, with a kube-apiserver that has just started: ${lost} lost in the last one.
* **slowest**: of the calls that were answered well.
* **recovery**: from the end of the fault until every shim had given a good Status, Encrypt and Decrypt, and the API had written and read a Secret.
* **rotation seen**: from the moment in which OpenBao had made the new version until all three shims showed its key_id (\`keys.refresh: 1s\`; the shipped 10 s without Redis would be up to 9 s later). Longer than the fault where the fault keeps gateways from OpenBao.

${table}
`;
}
