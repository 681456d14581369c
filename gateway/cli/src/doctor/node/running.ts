// The shim that runs, by its second listener: its own word on outage and certificates, which may be those of before
// a change of the files.
import { z } from "@claviger/proto/runtime/config.ts";
import type { Check, Finding } from "@claviger/proto/runtime/check.ts";
import { checkPrograms } from "../../check-programs.ts";
import { askReady } from "../ready.ts";

const readyReply = z.looseObject({
  phase: z.int().check(z.minimum(0), z.maximum(3)),
  secondsSinceGood: z.nullable(z.number()),
  gateways: z.record(z.string(), z.string()),
});
export type ShimState = z.infer<typeof readyReply>;

/** What the shim says of itself; undefined where no shim answers. */
export async function askShim(url: URL): Promise<ShimState | undefined> {
  return await askReady(url, readyReply);
}

/** What a phase means. (docs/architecture.md #shim.) */
export function judgeOutage({ phase, secondsSinceGood, gateways }: ShimState): Finding {
  const age = secondsSinceGood === null ? "never" : `${Math.round(secondsSinceGood)} s ago`;
  const down = Object.entries(gateways).flatMap(([url, text]) => (text === "ok" ? [] : [`${url}: ${text}`]));
  const text = `phase ${phase}, a gateway confirmed the key ${age}${down.length > 0 ? `; ${down.join("; ")}` : ""}`;
  const cure = "see the rows node.gateway.connect, then the gateway's /readyz; do not restart kube-apiserver now";
  if (phase === 0 && secondsSinceGood === null)
    return { verdict: "failed", found: "no gateway has confirmed a key since this shim started", cure };
  if (phase === 0 && down.length === 0) return { verdict: "ok", found: text };
  return { verdict: phase < 2 ? "warning" : "failed", found: text, cure };
}

/** Adds the rows of the shim that runs. @param url of its second listener */
export async function checkRunning(check: Check, url: URL, state: ShimState | undefined): Promise<void> {
  if (state === undefined) {
    const found = `no shim answers at ${url.origin}`;
    check.add("node.running", {
      verdict: "failed",
      found,
      cure: "start claviger-shim and read its log (journalctl -u claviger-shim, or crictl logs)",
    });
    check.add("node.outage", { verdict: "not tried", found });
    return;
  }
  check.add("node.outage", judgeOutage(state));
  for (const { verdict, found, cure } of await checkPrograms([url]))
    check.add("node.running", { verdict, found, cure });
}
